"""Chunks, reused prefixes, evicted, parked and interleaved conversations give the tokens of re-reading everything.

The real engine on the CPU, in a process of its own (this file as a script), which prints what it saw.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from engine_process import of_models

if __name__ != "__main__" and os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")
    pytest.importorskip("ktransformers")

HERE = Path(__file__).resolve().parent
TOKENS, CACHE = 4, 1024
PLENTY = CACHE // 64
# As docs/gpu.md has them.
LOGITS_ERROR, NEAR = 5e-2, 0.1


def load(gguf: Path, work: Path) -> Any:
    """The engine's class, as the worker makes it."""
    import_module("cpu_shims").apply()
    from leviathan_engine.gguf import read_model  # noqa: PLC0415
    from leviathan_engine.model.hf_config import build  # noqa: PLC0415
    from leviathan_engine.model.kv_b import engine_folder  # noqa: PLC0415
    from leviathan_engine.model.shape import read_shape  # noqa: PLC0415
    from leviathan_engine.worker.ktransformers import KTransformers, Options  # noqa: PLC0415

    model = read_model(gguf)
    build(model).write(work / "hf")
    files = engine_folder(model, read_shape(model), work / "engine")
    options = Options(work, work / "hf", files, HERE / "cpu-rules.yaml", 2, CACHE, "cpu")
    return KTransformers(options, lambda _layers, _bytes: None)


@dataclass(frozen=True)
class Answer:
    """The logits of each step of an answer whose tokens were given, and how many tokens of the prompt were reused."""

    logits: list[Any]
    reused: int

    @property
    def tokens(self) -> list[int]:
        """The likeliest tokens."""
        return [int(logits.argmax()) for logits in self.logits]

    def against(self, right: "Answer") -> dict[str, Any]:
        """The worst relative error of a step's logits, and how many chosen tokens are wrong.

        A token is wrong whose right logit lies more than NEAR of the logits' spread below the best.
        """
        pairs = list(zip(self.logits, right.logits, strict=True))
        errors = [float((mine - true).norm() / true.norm()) for mine, true in pairs]
        gaps = [float((true.max() - true[int(mine.argmax())]) / true.std()) for mine, true in pairs]
        return {"error": max(errors), "wrong": sum(gap > NEAR for gap in gaps), "reused": self.reused}


class Talk:
    """Conversations over a cache of `pages` pages, read in chunks of `chunk` tokens."""

    def __init__(self, engine: Any, pages: int, chunk: int, parked: int = 0, folder: Path | None = None) -> None:
        kept = import_module("leviathan_engine.worker.kept").Kept
        cache = import_module("leviathan_operators.cache").PrefixCache
        size = engine._cache.page_bytes
        self.engine, self.chunk = engine, chunk
        self.prefixes = cache(pages, engine._cache, kept(parked * size, folder, 1 << 30, bytes(20)).pages(size))

    def start(self, ids: Sequence[int]) -> Any:
        """A generation that has read nothing."""
        generation = import_module("leviathan_engine.worker.generation").Generation
        job = import_module("leviathan_engine.wire").Job("x", tuple(ids), TOKENS, 0.0, 1.0, None, ())
        return generation(self.engine, self.prefixes, job, self.chunk)

    def answer(self, ids: Sequence[int], tokens: Sequence[int] | None = None) -> Answer:
        """The whole answer; with `tokens` it continues from these."""
        generation = self.start(ids)
        while generation.read():
            pass
        logits = [generation._logits.float().clone()]
        while len(logits) < TOKENS:
            step(generation, logits, tokens)
        reused = generation.progress.cached
        generation.close()
        return Answer(logits, reused)


def step(generation: Any, logits: list[Any], tokens: Sequence[int] | None) -> None:
    """One more token of an answer."""
    generation.decode(int(logits[-1].argmax()) if tokens is None else tokens[len(logits) - 1])
    logits.append(generation._logits.float().clone())


def ids(seed: int, count: int) -> list[int]:
    """Token ids that look random and are the same in every run."""
    return [4 + (seed * 7919 + n * 104729 + n * n * 31) % 250 for n in range(count)]


def see(engine: Any, folder: Path) -> dict[str, Any]:
    """Every way to the same answers, compared with reading the prompt in one piece without the prefix cache."""
    prompts: list[list[int]] = [ids(1, 100)]
    right = [Talk(engine, PLENTY, 4096).answer(prompts[0])]
    for turn in (2, 3):
        prompts.append(prompts[-1] + right[-1].tokens + ids(turn, 40))
        right.append(Talk(engine, PLENTY, 4096).answer(prompts[-1]))
    prompts.append(ids(9, 200))
    right.append(Talk(engine, PLENTY, 4096).answer(prompts[-1]))

    def follow(talk: Talk, order: Sequence[int]) -> list[dict[str, Any]]:
        return [talk.answer(prompts[n], right[n].tokens).against(right[n]) for n in order]

    both = interleaved(Talk(engine, PLENTY, 64), [prompts[1], prompts[3]], [right[1].tokens, right[3].tokens])
    return {
        "lengths": [len(prompt) for prompt in prompts],
        "repeated": repeated(engine, prompts[1]),
        "answers": [answer.tokens for answer in right],
        "chunks": follow(Talk(engine, PLENTY, 64), [2, 3]),
        "reused": follow(Talk(engine, PLENTY, 64), [0, 1, 2, 2]),
        # Five pages: each of the two conversations pushes some of the other out.
        "evicted": follow(small := Talk(engine, 5, 128), [1, 3, 2]),
        "evictions": small.prefixes.evicted,
        "ahead": [*follow(ahead := Talk(engine, 12, 128, parked=32), [1]), *quiet(ahead), *follow(ahead, [3, 2, 1])],
        "parked": follow(Talk(engine, 5, 128, parked=32), [1, 3, 2, 3]),
        # Four pages: the second conversation pushes the first one out whole; then another process.
        "to disk": follow(disk := Talk(engine, 4, 128, folder=folder), [1, 3]),
        "settled": disk.prefixes.settle(60),
        "restarted": follow(Talk(engine, 4, 128, folder=folder), [1]),
        "interleaved": [mine.against(true) for mine, true in zip(both, (right[1], right[3]), strict=True)],
        "cancelled": cancelled(Talk(engine, PLENTY, 64), prompts[2], right[2]),
        "last layer": last_layer(engine, prompts[3]),
    }


def last_layer(engine: Any, prompt: Sequence[int]) -> dict[str, Any]:
    """Reads two chunks with the last layer's last position, and with all: its rows, logits' error, the cache's bits."""
    model, pages, rows = engine._interface.model, [6, 1, 3, 2], []
    every = import_module("leviathan_operators.operators.last_layer").every_position

    def read() -> tuple[Any, list[bytes]]:
        engine._cache.write(pages, [bytes(engine._cache.page_bytes)] * len(pages))
        engine.read(pages, 0, prompt[:77])
        return engine.read(pages, 77, prompt[77:]).float().clone(), engine._cache.read(pages)

    hook = model.model.layers[-1].mlp.register_forward_pre_hook(lambda _module, given: rows.append(given[0].shape[1]))
    mine, bits = read()
    with every(model):
        right, all_bits = read()
    hook.remove()
    error = float((mine - right).norm() / right.norm())
    return {"rows": rows, "error": error, "bits": bits == all_bits, "written": sum(map(any, bits))}


def quiet(talk: Talk) -> list[dict[str, Any]]:
    """A moment without a job, in which pages are parked ahead."""
    while talk.prefixes.park_ahead():
        pass
    return []


def repeated(engine: Any, prompt: Sequence[int]) -> dict[str, Any]:
    """The engine's own loop, twice the same prompt: what it knew, and whether all logits of the answer are equal."""
    job = import_module("leviathan_engine.wire").Job("x", tuple(prompt), TOKENS, 0.0, 1.0, None, (), scope="repeated")
    cached, tokens = [], []
    for _ in range(2):
        answer = engine.tokens(job, progress=lambda state: cached.append(state.cached))
        tokens.append([next(answer) for _ in range(TOKENS)])
        answer.close()
    return {"cached": [cached[0], cached[-1]], "tokens": tokens}


def interleaved(talk: Talk, prompts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> list[Answer]:
    """Two answers whose steps alternate; the shorter one decodes while the other still reads."""
    generations = [talk.start(prompt) for prompt in prompts]
    logits: list[list[Any]] = [[], []]
    while min(map(len, logits)) < TOKENS:
        for generation, own, forced in zip(generations, logits, tokens, strict=True):
            if generation.read() or len(own) == TOKENS:
                continue
            if own:
                step(generation, own, forced)
            else:
                own.append(generation._logits.float().clone())
    for generation in generations:
        generation.close()
    return [Answer(own, 0) for own in logits]


def cancelled(talk: Talk, prompt: Sequence[int], right: Answer) -> dict[str, Any]:
    """Is given up in the third chunk, after one layer of it; then the whole answer."""
    engine, session = talk.engine, import_module("leviathan_engine.worker.session")
    generation = talk.start(prompt)
    generation.read()
    generation.read()
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(len(asked) == 1)
        return asked[-1]

    engine._cancelled = stop
    try:
        generation.read()
    except session.Cancelled:
        engine._cancelled = lambda: False
    generation.close()
    return {"asked": asked, **talk.answer(prompt, right.tokens).against(right)}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return of_models(__file__, tmp_path_factory.mktemp("conversations"))


WAYS = ["chunks", "reused", "evicted", "parked", "ahead", "to disk", "restarted", "interleaved"]


@pytest.mark.parametrize("way", WAYS)
def test_the_answers_are_those_of_one_piece(seen: dict[str, Any], way: str) -> None:
    for answer in seen[way]:
        assert answer["wrong"] == 0
        assert answer["error"] < LOGITS_ERROR


def test_the_answers_differ(seen: dict[str, Any]) -> None:
    assert len({tuple(answer) for answer in seen["answers"]}) == len(seen["lengths"])


def test_a_turn_reads_only_what_is_new(seen: dict[str, Any]) -> None:
    # All of the turn before and its answer, but for the answer's last token, which was never read.
    first, second, third, _other = seen["lengths"]
    known = [0, first + TOKENS - 1, second + TOKENS - 1, third - 1]
    assert [answer["reused"] for answer in seen["reused"]] == known


def test_conversations_that_push_each_other_out(seen: dict[str, Any]) -> None:
    known = (seen["lengths"][1] + TOKENS - 1) // 64 * 64
    assert [answer["reused"] for answer in seen["parked"]] == [0, 0, known, 192]
    assert seen["evictions"] > 0
    assert [answer["reused"] for answer in seen["evicted"]][:2] == [0, 0]
    assert seen["evicted"][2]["reused"] <= known


def test_conversations_on_disk_outlive_the_process(seen: dict[str, Any]) -> None:
    assert seen["settled"]
    assert [answer["reused"] for answer in (*seen["to disk"], *seen["restarted"])] == [0, 0, 128]


def test_the_last_layer_computes_the_last_position(seen: dict[str, Any]) -> None:
    """The cache has the same bits as if it computed all; the logits differ by products of other shapes."""
    found = seen["last layer"]
    assert found["rows"] == [1, 1, 77, seen["lengths"][3] - 77]
    assert found["bits"]
    assert found["written"] == 4
    assert found["error"] < LOGITS_ERROR / 5


def test_a_prompt_that_is_asked_again_is_not_read(seen: dict[str, Any]) -> None:
    repeated = seen["repeated"]
    assert repeated["cached"] == [0, seen["lengths"][1]]
    assert repeated["tokens"][0] == repeated["tokens"][1]


def test_a_cancelled_prompt_keeps_its_chunks(seen: dict[str, Any]) -> None:
    cancelled = seen["cancelled"]
    assert cancelled["asked"] == [False, True]
    assert (cancelled["reused"], cancelled["wrong"]) == (128, 0)
    assert cancelled["error"] < LOGITS_ERROR


if __name__ == "__main__":
    result = see(load(Path(sys.argv[1]), Path(sys.argv[2])), Path(sys.argv[2]) / "kept")
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
