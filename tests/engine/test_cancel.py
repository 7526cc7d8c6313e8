"""A prompt that is being read can be given up between two layers, and the next answer is the one it always was.

The real engine on the CPU, in a process of its own (this file as a script), which prints what it saw.
"""

import json
import os
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
PROMPT, TOKENS, LAYERS = tuple(range(4, 44)), 4, 4


def see(gguf: Path, work: Path) -> dict[str, Any]:
    """Answers, is cancelled after two layers of the prompt, and answers again."""
    import_module("cpu_shims").apply()
    from leviathan_engine.gguf import read_model  # noqa: PLC0415
    from leviathan_engine.model.hf_config import build  # noqa: PLC0415
    from leviathan_engine.model.kv_b import engine_folder  # noqa: PLC0415
    from leviathan_engine.model.shape import read_shape  # noqa: PLC0415
    from leviathan_engine.wire import Job  # noqa: PLC0415
    from leviathan_engine.worker.ktransformers import KTransformers, Options  # noqa: PLC0415
    from leviathan_engine.worker.session import Cancelled  # noqa: PLC0415

    model = read_model(gguf)
    build(model).write(work / "hf")
    files = engine_folder(model, read_shape(model), work / "engine")
    options = Options(work, work / "hf", files, HERE / "cpu-rules.yaml", 3, 256, "cpu")
    engine = KTransformers(options, lambda _layers, _bytes: None)
    job = Job("x", PROMPT, TOKENS, 0.0, 1.0, None, ())
    other = Job("y", PROMPT[::-1], TOKENS, 0.0, 1.0, None, ())  # the same prompt again would not be read
    asked: list[bool] = []

    def after(layers: int) -> Any:
        asked.clear()

        def cancelled() -> bool:
            asked.append(len(asked) >= layers)
            return asked[-1]

        return cancelled

    def answer(asked_for: Job, cancelled: Any) -> list[int]:
        return [token for _, token in zip(range(TOKENS), engine.tokens(asked_for, cancelled), strict=False)]

    out: dict[str, Any] = {"before": answer(job, after(1000)), "asked": len(asked)}
    try:
        out["cancelled"] = answer(other, after(2))
    except Cancelled:
        out["cancelled"] = list(asked)
    return out | {"after": answer(job, after(1000)), "other": answer(other, after(1000))}


def test_a_prompt_is_given_up_between_layers(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    import_module("test_gguf_alone").write_model(tmp_path / "models" / "tiny.gguf", split_kv_b=False)
    argv = [sys.executable, str(Path(__file__).resolve()), str(tmp_path / "models"), str(tmp_path)]
    env = import_module("engine_process").environment(tmp_path)
    env["PYTHONPATH"] = os.pathsep.join([str(HERE), *sys.path])
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    # Once before each layer of the prompt, and not while decoding.
    assert seen["asked"] == LAYERS
    assert seen["cancelled"] == [False, False, True]
    assert len(seen["before"]) == TOKENS
    assert seen["before"] == seen["after"]
    assert len(seen["other"]) == TOKENS


if __name__ == "__main__":
    result = see(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
