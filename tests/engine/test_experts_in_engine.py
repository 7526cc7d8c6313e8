"""Experts streamed, or some of them resident, in the real engine: the logits of the CPU's, within rounding.

The device is the CPU, its kernels are the plain ones. The engine runs in a process of its own (this file as a script).
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

# As docs/gpu.md has it for logits: the CPU's experts round activations to 8 bits, the device's do not.
LIMIT = 5e-2
PROMPT, STEPS = 90, 3


class Engine:
    """The engine on the tiny model, whose layers of experts take turns with other ways to compute them."""

    def __init__(self, models: Path, work: Path) -> None:
        self.engine = import_module("test_conversations").load(models, work)
        self.model = self.engine._interface.model
        self.layers = [layer.mlp for layer in self.model.model.layers if hasattr(layer.mlp, "experts")]
        self.placed = import_module("leviathan_operators.install_experts")._placed(self.model, type(self.layers[0]))
        self.plain = import_module("leviathan_operators.reference.operators")
        self.device = import_module("leviathan_operators.experts.device")

    def logits(self) -> list[Any]:
        """Of the prompt's last token and of some steps."""
        pages = list(range(4))
        out = [self.engine.read(pages, 0, [(7 * i + i * i) % 250 for i in range(PROMPT)]).float().clone()]
        for step in range(STEPS):
            out.append(self.engine.decode(pages, PROMPT + step, 11 + step).float().flatten().clone())
        return out

    def upstream(self) -> None:
        """All on the CPU."""
        for module in self.layers:
            module.device_layer = None

    def device_layers(self) -> list[Any]:
        """Fresh ones in every layer."""
        for placed in self.placed:
            choices = placed.module.config.num_experts_per_tok
            placed.module.device_layer = self.device.DeviceLayer(
                self.plain.PlainOperators(), placed.files, choices, placed.device
            )
        return [placed.module.device_layer for placed in self.placed]

    def streamed(self, threshold: int, begun: list[str] | None = None) -> list[Any]:
        """Chunks from `threshold` tokens on are streamed; `begun` gets a word whenever reading experts begins."""
        streaming = import_module("leviathan_operators.experts.streamed")
        files = [placed.files for placed in self.placed]
        products = self.products(files)
        ring = self.plain.PlainRing()
        begin = ring.begin
        ring.begin = lambda *given: (begun is None or begun.append("experts"), begin(*given))
        links = [streaming.Link(ring, products)]
        source = streaming.StreamedExperts(
            self.plain.PlainOperators(), links, [streaming.StreamedLayer(f) for f in files]
        )
        layers = self.device_layers()
        for position, layer in enumerate(layers):
            layer.stream(source, position, threshold)
        return layers

    def products(self, files: list[Any]) -> Any:
        module = import_module("leviathan_operators.experts.products")
        return module.Products(self.plain.PlainOperators(), files, import_module("torch").device("cpu"))

    def resident(self, here: list[int], shift: int) -> None:
        """In each layer the expert `here` is on the device; `shift` puts another one's weights into its slot."""
        layers, files = self.device_layers(), [placed.files for placed in self.placed]
        products = self.products(files)
        chosen = {f.layer: [(number + shift) % f.experts] for f, number in zip(files, here, strict=True)}
        held = import_module("leviathan_operators.experts.resident").load(self.plain.PlainRing(), files, chosen, 0)
        for f, layer, number in zip(files, layers, here, strict=True):
            table = held[f.layer].resident.table
            table[number] = int(table.max())
            table[[n for n in range(f.experts) if n != number]] = -1
            layer.keep(held[f.layer].resident, products)


def order(engine: Engine, threshold: int) -> list[str]:
    """What begins in a prompt: the first layers of the model, and reading experts."""
    seen: list[str] = []
    engine.streamed(threshold, seen)
    layers = engine.model.model.layers
    hooks = [
        layer.register_forward_pre_hook(lambda *_, n=n: seen.append(f"layer {n}")) for n, layer in enumerate(layers)
    ]
    engine.engine.read(list(range(4)), 0, [7] * PROMPT)
    for hook in hooks:
        hook.remove()
    return seen[:3]


def distance(got: list[Any], right: list[Any]) -> float:
    """The largest relative L2 error of a step."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(got, right, strict=True))


def main(models: Path, work: Path) -> dict[str, Any]:
    """Every way in turn."""
    engine = Engine(models, work)
    engine.upstream()
    right = engine.logits()
    out = {"again": distance(engine.logits(), right)}
    layers = engine.streamed(16)
    out["streamed"] = distance(engine.logits(), right)
    out["uses"] = [int(layer.uses.sum()) for layer in layers]
    layers = engine.streamed(16)
    with import_module("leviathan_operators.operators.last_layer").every_position(engine.model):
        out["every position"] = distance(engine.logits(), right)
    out["uses of every position"] = [int(layer.uses.sum()) for layer in layers]
    out["order"] = [order(engine, 16), order(engine, PROMPT + 1)]
    engine.streamed(PROMPT + 1)
    out["below_the_threshold"] = distance(engine.logits(), right)
    # The tiny model's routers choose the same two for every token: one of them is on the device, the other is not.
    chosen = [int(layer.uses.argmax()) for layer in layers]
    engine.resident(chosen, 0)
    out["resident"] = distance(engine.logits(), right)
    engine.resident(chosen, 1)
    out["resident_wrong"] = distance(engine.logits(), right)
    return out


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return of_models(__file__, tmp_path_factory.mktemp("experts"))


def test_streamed_experts_give_the_cpus_logits(seen: dict[str, Any]) -> None:
    assert seen["again"] == 0
    assert 0 < seen["streamed"] < LIMIT
    assert 0 < seen["every position"] < LIMIT
    assert seen["below_the_threshold"] == 0


def test_experts_are_read_before_the_chunk_gets_to_them(seen: dict[str, Any]) -> None:
    """Once a chunk; nothing is read for a chunk that the CPU computes."""
    assert seen["order"] == [["experts", "layer 0", "layer 1"], ["layer 0", "layer 1", "layer 2"]]


def test_resident_experts_give_the_cpus_logits(seen: dict[str, Any]) -> None:
    """One chosen expert on the device, the other on the CPU, which gets -1 for the first; a wrong one is seen."""
    assert 0 < seen["resident"] < LIMIT
    assert seen["resident_wrong"] > 2 * LIMIT


def test_every_choice_is_counted(seen: dict[str, Any]) -> None:
    """Two experts a token, of the prompt and of each step; in the last layer, of the prompt's last token."""
    *others, last = seen["uses"]
    assert set(others) == set(seen["uses of every position"]) == {2 * (PROMPT + STEPS)}
    assert last == 2 * (1 + STEPS)


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
