"""A prompt that cannot be read says why, and the next answer is the one it always was; the logits are upstream's own.

The real engine on the CPU, in a process of its own (this file as a script), which prints what it saw.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from engine_process import of_models

if __name__ != "__main__" and os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")
    pytest.importorskip("ktransformers")

PROMPT, TOKENS = 90, 3
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of 31 GiB"
GONE = "experts to the GPU: the model's file cannot be read: Input/output error; check the disk with dmesg on the node"


def ids(seed: int) -> tuple[int, ...]:
    """A prompt of its own: one that is asked again would not be read."""
    return tuple(4 + (seed * 7919 + n * 104729 + n * n * 31) % 250 for n in range(PROMPT))


def last_position(engine: Any) -> dict[str, Any]:
    """The logits of the last position, and as upstream makes them: of all positions, with its mask.

    The last layer computes all positions, since products of another shape round differently.
    """
    every = import_module("leviathan_operators.operators.last_layer").every_position
    with every(engine._interface.model):
        return _last_position(engine)


def _last_position(engine: Any) -> dict[str, Any]:
    torch, model = import_module("torch"), engine._interface.model
    shapes: list[list[int]] = []

    def look(_module: Any, _inputs: Any, out: Any) -> None:
        shapes.append(list(out.shape))

    watching = model.lm_head.register_forward_hook(look)
    ours = engine.read(list(range(2)), 0, ids(0)).clone()
    model.lm_head._forward_pre_hooks.clear()
    del model.model.orig_module._update_causal_mask
    masks: list[Any] = []
    original = model.model.orig_module._update_causal_mask
    model.model.orig_module._update_causal_mask = lambda *words: masks.append(original(*words)) or masks[-1]
    theirs = engine.read(list(range(2)), 0, ids(0)).clone()
    watching.remove()
    del model.model.orig_module._update_causal_mask
    import_module("leviathan_engine.worker.model_changes").lighten(model)
    other = engine.read(list(range(2)), 0, ids(1))
    return {
        "equal": bool(torch.equal(ours, theirs)),
        "other": bool(torch.equal(ours, other)),
        "shapes": [shape[:2] for shape in shapes],
        "masks": [list(mask.shape) for mask in masks],
    }


class Failing:
    """A ring whose file cannot be read from its third expert on."""

    def __init__(self, ring: Any) -> None:
        self._ring, self.fails = ring, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ring, name)

    def wait(self, item: int, queue: int) -> int:
        """The expert's address. Errors: KernelError."""
        if self.fails and item >= 2:
            raise import_module("leviathan_operators.kernels.library").KernelError(GONE)
        return int(self._ring.wait(item, queue))


class Prompts:
    """Answers of the engine's own loop, and how they fail."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def answer(self, prompt: tuple[int, ...]) -> Any:
        """The tokens, or the error's type and text."""
        job = import_module("leviathan_engine.wire").Job("x", prompt, TOKENS, 0.0, 1.0, None, ())
        tokens = self.engine.tokens(job)
        try:
            return [token for _, token in zip(range(TOKENS), tokens, strict=False)]
        except Exception as err:
            return [type(err).__name__, str(err)]
        finally:
            tokens.close()


def see(models: Path, work: Path) -> dict[str, Any]:
    """Each failure between two answers."""
    experts = import_module("test_experts_in_engine").Engine(models, work)
    engine, torch = experts.engine, import_module("torch")
    prompts = Prompts(engine)
    out: dict[str, Any] = {"last position": last_position(engine)}

    right = prompts.answer(ids(2))

    def full(*_arguments: Any) -> None:
        raise torch.OutOfMemoryError(FULL)

    hook = engine._interface.model.model.layers[2].register_forward_pre_hook(full)
    out["full card"] = [prompts.answer(ids(3))]
    hook.remove()
    out["full card"] += [prompts.answer(ids(2)), right]

    streaming = import_module("leviathan_operators.experts.streamed")
    files = [placed.files for placed in experts.placed]
    ring = Failing(experts.plain.PlainRing())
    parts = [streaming.StreamedLayer(f) for f in files]
    links = [streaming.Link(ring, experts.products(files))]
    source = streaming.StreamedExperts(experts.plain.PlainOperators(), links, parts)
    for position, layer in enumerate(experts.device_layers()):
        layer.stream(source, position, 16)
    used = engine._prefixes.used
    out["disk"] = [prompts.answer(ids(4)), engine._prefixes.used - used]
    ring.fails = False
    streamed = prompts.answer(ids(5))
    links = [streaming.Link(experts.plain.PlainRing(), experts.products(files))]
    fresh = streaming.StreamedExperts(experts.plain.PlainOperators(), links, parts)
    for position, layer in enumerate(experts.device_layers()):
        layer.stream(fresh, position, 16)
    engine._answers.__init__()
    engine._prefixes.tree.__init__()
    out["disk"] += [streamed, prompts.answer(ids(5))]
    return out


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return of_models(__file__, tmp_path_factory.mktemp("failures"))


def test_the_last_positions_logits_are_upstreams_to_the_bit(seen: dict[str, Any]) -> None:
    """Without the logits of other positions and without a mask; another prompt's logits differ."""
    last = seen["last position"]
    assert last["equal"]
    assert not last["other"]
    assert last["shapes"] == [[1, 1], [1, PROMPT]]
    assert last["masks"], "upstream did make its mask"


def test_a_full_card_is_said_and_the_next_answer_is_right(seen: dict[str, Any]) -> None:
    (kind, text), after, before = seen["full card"]
    assert kind == "OutOfMemory"
    assert text == f"the GPU's memory is too small for this prompt: {FULL.splitlines()[0]}"
    assert after == before
    assert len(after) == TOKENS


def test_a_disk_that_fails_while_experts_are_streamed_answers_nothing(seen: dict[str, Any]) -> None:
    """The word of the disk, no token, no page kept of it; once it reads again the answer is an undisturbed ring's."""
    failed, pages, streamed, fresh = seen["disk"]
    assert failed == ["KernelError", GONE]
    assert pages == 0
    assert len(streamed) == TOKENS
    assert streamed == fresh


if __name__ == "__main__":
    result = see(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
