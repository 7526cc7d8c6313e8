"""Where a layer's expert weights are: the files, offsets and types."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.gguf.types import GgmlType

from ..reference.gguf_blocks import KINDS

# Runs of bytes start at multiples of this in a slot: the kernels read 16 bytes at once.
ALIGNMENT = 256


@dataclass(frozen=True)
class Weight:
    """One weight of all experts of a layer: `bytes` per expert, from `offset` in the open file `file`."""

    file: int
    offset: int
    bytes: int
    kind: GgmlType


@dataclass(frozen=True)
class LayerFiles:
    """One layer's experts: gate and up are (width, hidden), down is (hidden, width)."""

    layer: int
    gate: Weight
    up: Weight
    down: Weight
    experts: int
    width: int
    hidden: int

    @property
    def places(self) -> tuple[int, int, int]:
        """The offsets of an expert's gate, up and down in its slot, in bytes."""
        up = _aligned(self.gate.bytes)
        return 0, up, up + _aligned(self.up.bytes)

    @property
    def slot_bytes(self) -> int:
        """Bytes that one expert takes in a slot."""
        return self.places[2] + _aligned(self.down.bytes)

    @property
    def expert_bytes(self) -> int:
        """Bytes of one expert's weights in the files."""
        return self.gate.bytes + self.up.bytes + self.down.bytes

    def runs(self, expert: int) -> list[tuple[int, int, int, int]]:
        """Returns (file, offset, bytes, offset in the slot) of one expert's weights."""
        weights = zip((self.gate, self.up, self.down), self.places, strict=True)
        return [(w.file, w.offset + expert * w.bytes, w.bytes, place) for w, place in weights]

    def unfit(self) -> str:
        """Says why the GPU's kernels cannot read these experts, "" if they can."""
        for name, weight in (("gate", self.gate), ("up", self.up), ("down", self.down)):
            if weight.kind not in KINDS:
                return f"layer {self.layer}: the experts' {name} is {weight.kind.name}, but the GPU reads " + ", ".join(
                    kind.name for kind in KINDS
                )
        if self.gate.kind != self.up.kind:
            return (
                f"layer {self.layer}: expected one type for the experts' gate and up, got {self.gate.kind.name} and"
                f" {self.up.kind.name}"
            )
        return ""


class OpenFiles:
    """The model's files, each opened once for reading; closed with the process."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def __getitem__(self, path: Path | str) -> int:
        """Returns the descriptor of the file at `path`. Errors: OSError."""
        name = os.fspath(path)
        if name not in self._open:
            self._open[name] = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        return self._open[name]


def layer_files(tensors: Mapping[str, tuple[int, int, GgmlType, tuple[int, ...]]], layer: int) -> LayerFiles:
    """Returns the experts of `layer` from (file, offset, type, shape in ggml's order) of the model's tensors by name.

    Errors: KeyError for a layer without experts.
    """

    def weight(name: str) -> tuple[Weight, tuple[int, ...]]:
        file, offset, kind, shape = tensors[f"blk.{layer}.ffn_{name}_exps.weight"]
        return Weight(file, offset, kind.nbytes(shape[0] * shape[1]), kind), shape

    (gate, shape), (up, _), (down, _) = weight("gate"), weight("up"), weight("down")
    return LayerFiles(layer, gate, up, down, experts=shape[2], width=shape[1], hidden=shape[0])


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
