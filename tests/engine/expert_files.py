"""Layers of experts in a file, and a ring that remembers: what the tests of streamed experts share."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from moe_layer import Q4_K, Q6_K, blocks

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators.experts.files import LayerFiles, OpenFiles, Weight, layer_files
from leviathan_operators.experts.installed import Placed
from leviathan_operators.experts.products import Products
from leviathan_operators.experts.streamed import Link, Source, StreamedExperts, StreamedLayer
from leviathan_operators.reference.expert_layer import Blocks
from leviathan_operators.reference.operators import PlainOperators, PlainRing

HIDDEN, WIDTH, EXPERTS, CHOICES = 512, 256, 6, 3
# bfloat16 weights, intermediate values and outputs.
LIMIT = 8e-3


def layers(folder: Path, count: int) -> tuple[list[LayerFiles], list[Blocks]]:
    """`count` layers in one file: gate and up in Q4_K, down in Q6_K."""
    random = np.random.default_rng(3)
    path = folder / "weights"
    raw, tensors, offset = [], {}, 0
    for layer in range(count):
        for name, kind, rows, cols in (
            ("gate", Q4_K, WIDTH, HIDDEN),
            ("up", Q4_K, WIDTH, HIDDEN),
            ("down", Q6_K, HIDDEN, WIDTH),
        ):
            weight = blocks(random, kind, EXPERTS, rows, cols).reshape(EXPERTS, -1)
            tensors[f"blk.{layer}.ffn_{name}_exps.weight"] = (0, offset, GgmlType(kind.value), (cols, rows, EXPERTS))
            raw.append(weight)
            offset += weight.size
    path.write_bytes(b"".join(weight.tobytes() for weight in raw))
    file = OpenFiles()[path]
    placed = {name: (file, *rest) for name, (_, *rest) in tensors.items()}
    held = [
        Blocks(*map(torch.from_numpy, raw[3 * n : 3 * n + 3]), GgmlType.Q4_K, GgmlType.Q6_K, WIDTH, HIDDEN)
        for n in range(count)
    ]
    return [layer_files(placed, layer) for layer in range(count)], held


def placed_layer(number: int = 3, kind: GgmlType = GgmlType.Q4_K) -> Placed:
    """One layer of experts to install, on the CPU in a GPU's place; its file is never read."""
    weights = [Weight(0, 0, kind.nbytes(256 * 256), kind)] * 3
    files = LayerFiles(number, *weights, experts=4, width=256, hidden=256)
    module = SimpleNamespace(config=SimpleNamespace(num_experts_per_tok=2), device_layer=None)
    return Placed(module, number, torch.device("cpu"), files)


def given(tokens: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, HIDDEN, generator=random).bfloat16()
    ids = torch.stack([torch.randperm(EXPERTS, generator=random)[:CHOICES] for _ in range(tokens)])
    return x, ids, torch.rand(tokens, CHOICES, generator=random)


def streamed_layers(source: Source, layers: list[StreamedLayer]) -> StreamedExperts:
    products = Products(PlainOperators(), [layer.files for layer in layers], torch.device("cpu"))
    return StreamedExperts(PlainOperators(), [Link(source, products)], layers)


def distance(got: torch.Tensor, exact: torch.Tensor) -> float:
    return float((got.double() - exact).norm() / exact.norm())


class Counting(PlainRing):
    """A ring that remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[list[int]] = []
        self.open: set[int] = set()
        self.skipped: list[int] = []

    def begin(self, layers: list[LayerFiles], experts: list[list[int]]) -> None:
        self.begun.append([len(chosen) for chosen in experts])
        super().begin(layers, experts)

    def wait(self, item: int, queue: int) -> int:
        self.open.add(item)
        return super().wait(item, queue)

    def skip(self, items: Sequence[int]) -> None:
        self.skipped += items

    def release(self, item: int, queue: int) -> None:
        if item not in self.skipped:
            self.open.remove(item)
