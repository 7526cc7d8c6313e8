"""The functions of `kernels/library.py` and the ring in plain torch on the CPU: what tests run without a GPU."""

import ctypes
import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from leviathan_engine.gguf.types import GgmlType

from ..kernels.library import Slots
from . import expert_layer as plain
from .gguf_blocks import dequantise

if TYPE_CHECKING:
    from ..experts.files import LayerFiles


class PlainOperators:
    """As `kernels.library.Library`; addresses are the CPU's."""

    def current(self, device: torch.device) -> AbstractContextManager[None]:
        """There is one."""
        return nullcontext()

    def stream(self, tensor: torch.Tensor) -> int:
        """There is none."""
        return 0

    def dequantise(self, kind: int, blocks: int, out: torch.Tensor) -> None:
        """The elements at address `blocks` into `out`."""
        out.copy_(self._at(kind, blocks, tuple(out.shape)))

    def _at(self, kind: int, address: int, shape: tuple[int, ...]) -> torch.Tensor:
        size = GgmlType(kind).nbytes(math.prod(shape))
        raw = torch.frombuffer(bytearray(ctypes.string_at(address, size)), dtype=torch.uint8)
        return dequantise(raw, GgmlType(kind), shape)

    def gate_up(self, weights: Slots, slots: torch.Tensor, x: torch.Tensor, out: torch.Tensor) -> None:
        """silu(gate x) * (up x) of each choice that has a slot."""
        shape = (out.shape[2], x.shape[1])
        for token, choice in (slots >= 0).nonzero().tolist():
            slot, given = int(slots[token, choice]) * weights.stride, x[token].float()
            one, other = (self._at(weights.gate_kind, at + slot, shape) @ given for at in (weights.gate, weights.up))
            out[token, choice] = torch.nn.functional.silu(one) * other

    def down(
        self, weights: Slots, slots: torch.Tensor, scales: torch.Tensor, hidden: torch.Tensor, out: torch.Tensor
    ) -> None:
        """The weighted sum over each token's choices that have a slot."""
        out.zero_()
        for token, choice in (slots >= 0).nonzero().tolist():
            at = weights.down + int(slots[token, choice]) * weights.stride
            matrix = self._at(weights.down_kind, at, (out.shape[1], hidden.shape[2]))
            out[token] += scales[token, choice] * (matrix @ hidden[token, choice])

    def route(
        self,
        ids: torch.Tensor,
        table: torch.Tensor,
        slots: torch.Tensor,
        cpu_ids: torch.Tensor,
        uses: torch.Tensor | None,
    ) -> None:
        """Slots, ids for the CPU, and one more use each."""
        here, there = plain.route(ids, table)
        slots.copy_(here)
        cpu_ids.copy_(there)
        if uses is not None:
            uses += torch.bincount(ids.flatten(), minlength=len(uses))

    def silu_times(self, both: torch.Tensor, out: torch.Tensor) -> None:
        """silu of the left half times the right half."""
        left, right = both.float().chunk(2, 1)
        out.copy_(torch.nn.functional.silu(left) * right)

    def add_scaled(self, rows: torch.Tensor, tokens: torch.Tensor, scales: torch.Tensor, out: torch.Tensor) -> None:
        """out[tokens[i]] += scales[i] * rows[i]."""
        out.index_add_(0, tokens, rows.float() * scales[:, None])


class PlainRing:
    """As `experts.ring.Ring`, one expert at a time, read when it is asked for."""

    def __init__(self) -> None:
        self._items: list[tuple[LayerFiles, int]] = []
        self._slot = bytearray()

    device = torch.device("cpu")

    def begin(self, layers: Sequence["LayerFiles"], experts: Sequence[Sequence[int]]) -> None:
        """Remembers the order."""
        self._items = [(files, number) for files, chosen in zip(layers, experts, strict=True) for number in chosen]

    def wait(self, item: int, queue: int) -> int:
        """Reads item `item`; its address."""
        files, number = self._items[item]
        self._slot = bytearray(files.slot_bytes)
        for file, offset, size, place in files.runs(number):
            self._slot[place : place + size] = os.pread(file, size, offset)
        return ctypes.addressof((ctypes.c_char * len(self._slot)).from_buffer(self._slot))

    def view(self, address: int, size: int) -> torch.Tensor:
        """The bytes of the one slot."""
        return torch.frombuffer(self._slot, dtype=torch.uint8)[:size]

    def skip(self, items: Sequence[int]) -> None:
        """Nothing is read before it is asked for."""

    def release(self, item: int, queue: int) -> None:
        """Nothing is shared."""
