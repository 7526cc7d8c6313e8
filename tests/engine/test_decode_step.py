"""A decode step from the file's blocks in the real engine: the logits of upstream's steps, within rounding.

The device is the CPU and the kernels are the plain ones of `reference/plain_decode.py`, whose figures are
the kernels' own (test_decode_kernels.py). The engine runs in a process of its own (this file as a script).
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

# Of the middle step: upstream rounds to bfloat16 after each of its operators, our steps a few times a layer. One step
# in ten turns a near tie in the tiny model's sharp attention, which moves it by 0.1 whatever was rounded otherwise.
LIMIT = 3e-2


def blocks_everywhere(model: Any, kernels: Any) -> int:
    """Every linear layer of the loaded model as blocks, lm_head too; how many there are."""
    linear = import_module("leviathan_operators.operators.linear")
    upstream = import_module("ktransformers.operators.linear").KTransformersLinear
    linear.install(kernels)
    changed = 0
    for module in model.modules():
        if isinstance(module, upstream):
            old = module.generate_linear
            new = linear.BlockLinear(old.key, old.gguf_loader, old.config, module.orig_module, "cpu")
            new.load()
            object.__setattr__(module, "generate_linear", new)
            changed += 1
    assert not model.gguf_loader.load_gguf_tensor("output.weight").numel()  # left out of a load from now on
    assert model.gguf_loader.load_gguf_tensor("output_norm.weight").numel()
    assert linear.head_from_blocks(model)
    return changed


def distance(got: list[Any], right: list[Any]) -> float:
    """The relative L2 error of the middle step."""
    return sorted(float((a - b).norm() / b.norm()) for a, b in zip(got, right, strict=True))[len(right) // 2]


def restored(engine: Any) -> None:
    """Layers without our steps."""
    for layer in engine.layers_of_model:
        layer.__dict__.pop("forward", None)


def main(models: Path, work: Path) -> dict[str, Any]:
    """Upstream's steps, then ours: experts on the CPU, one of each layer on the device, faults that must be seen."""
    helper = import_module("test_experts_in_engine")
    engine = helper.Engine(models, work)
    step = import_module("leviathan_operators.operators.decode_step")  # not before the engine has its configuration
    kernels = import_module("leviathan_operators.reference.plain_decode").PlainDecode()
    model = engine.engine._interface.model
    engine.layers_of_model = model.model.layers
    engine.upstream()
    right = engine.logits()
    said: list[str] = []
    out: dict[str, Any] = {"without": step.install(model, kernels, said.append), "why": said}
    out["linears"] = blocks_everywhere(model, kernels)
    out["linear_alone"] = distance(engine.logits(), right)

    layers = engine.device_layers()
    out["layers"] = step.install(model, kernels, said.append)
    out["cpu"] = distance(engine.logits(), right)
    chosen = [int(layer.uses.argmax()) for layer in layers]
    out["uses"] = [int(layer.uses.sum()) for layer in layers]
    for name, shift in (("resident", 0), ("resident_wrong", 1)):
        restored(engine)
        engine.resident(chosen, shift)
        step.install(model, kernels, said.append)
        out[name] = distance(engine.logits()[1:], right[1:])  # the prompt is not ours
    restored(engine)
    engine.device_layers()
    step.install(model, kernels, said.append)
    norm = model.model.layers[2].post_attention_layernorm.weight
    norm.data *= 1.5
    out["fault"] = distance(engine.logits()[1:], right[1:])
    return out


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return of_models(__file__, tmp_path_factory.mktemp("step"))


def test_the_blocks_are_the_weights(seen: dict[str, Any]) -> None:
    """Linear layers alone: four of attention and three of the feed-forward in each of four layers."""
    assert seen["linears"] == 28
    assert 0 < seen["linear_alone"] < LIMIT


def test_a_step_gives_upstreams_logits(seen: dict[str, Any]) -> None:
    assert seen["layers"] == 4
    assert 0 < seen["cpu"] < LIMIT
    assert 0 < seen["resident"] < 5e-2  # the CPU's experts round activations to 8 bits, the device's to 16
    assert seen["resident_wrong"] > 0.1
    assert seen["fault"] > 2 * LIMIT


def test_every_choice_is_counted(seen: dict[str, Any]) -> None:
    """Two experts a token: of a prompt of 90 tokens, in the last layer of its last token, and of three steps."""
    *others, last = seen["uses"]
    assert set(others) == {2 * (90 + 3)}
    assert last == 2 * (1 + 3)


def test_a_model_that_is_not_loaded_as_blocks_keeps_upstreams_steps(seen: dict[str, Any]) -> None:
    assert seen["without"] == 0
    assert "not loaded as GGUF blocks" in seen["why"][0]


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
