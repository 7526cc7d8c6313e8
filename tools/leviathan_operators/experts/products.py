"""Computes one expert for many tokens: converts its blocks to bfloat16, then uses three matrix products."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .files import LayerFiles

Addresses = tuple[int, int, int]


class Products:
    """The computation, and its buffer for the largest expert in bfloat16. Use it for one expert at a time."""

    def __init__(self, operators: Any, layers: Sequence[LayerFiles], device: torch.device) -> None:
        self._operators = operators
        width, hidden = max(files.width for files in layers), max(files.hidden for files in layers)
        self._wide = torch.empty(2 * width * hidden, dtype=torch.bfloat16, device=device)
        self._narrow = torch.empty(hidden * width, dtype=torch.bfloat16, device=device)
        self._shaped: dict[tuple[int, int], _Buffers] = {}

    def add(self, files: LayerFiles, at: Addresses, x: Tensor, tokens: Tensor, scales: Tensor, out: Tensor) -> None:
        """Adds one expert's result for its tokens to `out`.

        Args:
            files: the layer.
            at: device addresses of the expert's gate, up and down.
            x: bfloat16 (all tokens, hidden).
            tokens: int64, the indices of this expert's tokens, without duplicates.
            scales: float32, their weights.
            out: float32 (all tokens, hidden).
        """
        to = self._buffers(files.width, files.hidden)
        if at[1] == at[0] + files.gate.bytes:  # as in a ring's slot, where gate's bytes fill up their place
            self._operators.dequantise(files.gate.kind, at[0], to.gate_up)
        else:
            self._operators.dequantise(files.gate.kind, at[0], to.gate)
            self._operators.dequantise(files.up.kind, at[1], to.up)
        both = torch.mm(x.index_select(0, tokens), to.gate_up.T)
        inner = torch.empty(len(tokens), files.width, dtype=torch.bfloat16, device=x.device)
        self._operators.silu_times(both, inner)
        self._operators.dequantise(files.down.kind, at[2], to.down)
        self._operators.add_scaled(torch.mm(inner, to.down.T), tokens, scales, out)

    def _buffers(self, width: int, hidden: int) -> "_Buffers":
        found = self._shaped.get((width, hidden))
        if found is None:
            gate_up = self._wide[: 2 * width * hidden].view(2 * width, hidden)
            down = self._narrow[: width * hidden].view(hidden, width)
            found = self._shaped[width, hidden] = _Buffers(gate_up, gate_up[:width], gate_up[width:], down)
        return found


class _Buffers(NamedTuple):
    """Views for one expert: gate above up (2 * width, hidden), each of the two, down (hidden, width); bfloat16."""

    gate_up: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


def by_expert(ids: Tensor, weights: Tensor, experts: int) -> tuple[Tensor, Tensor, list[int]]:
    """Sorts the pairs (token, choice) by expert, then token: returns tokens, weights, and the number for each expert.

    Leaves out pairs with the id -1. Waits for the device once.
    """
    flat = ids.flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat + 1, minlength=experts + 1).tolist()
    order = order[counts[0] :]
    return order // ids.shape[1], weights.flatten().float()[order].contiguous(), counts[1:]
