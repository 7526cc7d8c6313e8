"""A layer of experts in plain torch: what `kernels/gguf_experts.cu` computes, for any device.

DeepSeek-V3's expert is down(silu(gate x) * up x). Sums are taken in the order of a token's choices, or of the experts'
numbers, as the kernel in question takes them: floating point addition does not commute with rounding.
"""

from dataclasses import dataclass

import torch

from leviathan_engine.gguf.types import GgmlType

from .gguf_blocks import dequantise


@dataclass(frozen=True)
class Blocks:
    """One layer's expert weights as raw blocks, uint8 (experts, bytes of an expert)."""

    gate: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor
    gate_kind: GgmlType
    down_kind: GgmlType
    width: int
    hidden: int


def expert(blocks: Blocks, number: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """gate (width, hidden), up (width, hidden) and down (hidden, width) of one expert, on the CPU."""
    wide, narrow = (blocks.width, blocks.hidden), (blocks.hidden, blocks.width)
    gate = dequantise(blocks.gate[number], blocks.gate_kind, wide)
    up = dequantise(blocks.up[number], blocks.gate_kind, wide)
    return gate.to(dtype), up.to(dtype), dequantise(blocks.down[number], blocks.down_kind, narrow).to(dtype)


def experts(
    blocks: Blocks, x: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """The weighted sum of the chosen experts, (tokens, hidden) in `dtype`.

    Args:
        blocks: the layer.
        x: (tokens, hidden).
        ids: (tokens, choices); -1 for a choice that somebody else computes.
        weights: (tokens, choices).
        dtype: of all arithmetic; float64 for a reference.
    """
    x, weights = x.to("cpu", dtype), weights.to("cpu", dtype)
    ids = ids.cpu()
    parts = torch.zeros(*ids.shape, blocks.hidden, dtype=dtype)
    for number in sorted(set(ids.flatten().tolist()) - {-1}):
        gate, up, down = expert(blocks, number, dtype)
        token, choice = (ids == number).nonzero(as_tuple=True)
        inner = torch.nn.functional.silu(x[token] @ gate.T) * (x[token] @ up.T)
        parts[token, choice] = (inner @ down.T) * weights[token, choice, None]
    out = torch.zeros(len(x), blocks.hidden, dtype=dtype)
    for choice in range(ids.shape[1]):
        out += parts[:, choice]
    return out


def route(ids: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The slot of each choice (int32, -1: not here) and its id for the CPU (int64, -1: the device has it)."""
    slots = table[ids]
    return slots, torch.where(slots < 0, ids, -1)
