"""The real engine keeps its answers to a grammar: KTransformers on the CPU, the sampler's torch, llguidance's masks.

A process of its own (this file as a script) loads a tiny model of random weights and prints what it said.
"""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

if __name__ != "__main__" and os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")
    pytest.importorskip("ktransformers")

HERE = Path(__file__).resolve().parent
BLANKS = " \n\t\r"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "color": {"enum": ["red", "green"]},
        "count": {"type": "integer", "minimum": 10, "maximum": 99},
        "seen": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["color", "count", "seen"],
    "additionalProperties": False,
}


def serve(gguf: Path, work: Path) -> dict[str, Any]:
    """The answers to a schema at temperature 0 and 1, and to an expression with min_tokens and without an end token."""
    from leviathan_engine.model.grammar.compose import Composer  # noqa: PLC0415
    from leviathan_engine.model.grammar.vocabulary import Vocabulary  # noqa: PLC0415
    from leviathan_engine.model.hf_folder import end_tokens  # noqa: PLC0415
    from leviathan_engine.wire import Job  # noqa: PLC0415

    model = import_module("test_conversations").load(gguf, work)
    tokenizer = import_module("tokenizers").Tokenizer.from_file(str(work / "hf" / "tokenizer.json"))
    composer, ends = Composer(Vocabulary(work / "hf")), end_tokens(work / "hf")

    def says(kind: str, value: Any, temperature: float, eos: tuple[int, ...], **options: Any) -> str:
        form = {"answer": {"kind": kind, "value": value, "where": "field"}, "calls": None}
        options["grammar"] = composer.compose(form)
        ids = tuple(tokenizer.encode("hello").ids)
        tokens: list[int] = []
        for token in model.tokens(Job("a", ids, 300, temperature, 1.0, 1, eos, sampling=options)):
            tokens.append(token)
            if len(tokens) == 300:
                break
        return str(tokenizer.decode(tokens))

    # Random weights would fill the answer with blanks.
    bias = [(tokenizer.encode(blank, add_special_tokens=False).ids[0], -100.0) for blank in BLANKS]
    return {
        "schema": [says("json", SCHEMA, t, ends, logit_bias=bias) for t in (0.0, 1.0)],
        "early": says("regex", "[ab]{3}", 1.0, (), min_tokens=40),
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("grammar")
    import_module("test_gguf_alone").write_model(work / "tiny.gguf", split_kv_b=True)
    path = os.pathsep.join([str(HERE), *sys.path])
    done = subprocess.run(
        [sys.executable, __file__, str(work / "tiny.gguf"), str(work)],
        env=dict(os.environ) | {"PYTHONPATH": path, "HOME": str(work), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.strip().splitlines()
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def test_a_schema(said: dict[str, Any]) -> None:
    for text in said["schema"]:
        value = json.loads(text)
        assert list(value) == ["color", "count", "seen"]
        assert value["color"] in ("red", "green")
        assert 10 <= value["count"] <= 99
        assert all(isinstance(one, bool) for one in value["seen"])
        assert 1 <= len(value["seen"]) <= 2


def test_a_complete_grammar_ends_the_answer(said: dict[str, Any]) -> None:
    """Although min_tokens asks for more, and no token ends it."""
    assert re.fullmatch("[ab]{3}", said["early"])


if __name__ == "__main__":
    result = serve(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
