"""The kernels of a decode step in plain torch: the methods of `kernels.decode.DecodeKernels`, for any device.

Sums are torch's, in float32; a quantised vector has the kernels' bytes and means the same values.
"""

import ctypes
import math

import torch
from torch import Tensor

from leviathan_engine.gguf.types import GgmlType

from ..kernels.decode import Choice, Heads, Matrix, vector_bytes
from ..kernels.library import Slots
from .gguf_blocks import dequantise

PLANES = 2
STEPS = 32512.0


def quantised(values: Tensor) -> Tensor:
    """float32 (n) as a quantised vector of two planes: groups of 32 with one scale, 16 bits a value."""
    groups = values.float().reshape(-1, 32)
    most = groups.abs().amax(1, keepdim=True)
    steps = torch.full_like(most, STEPS)  # as a tensor: by a number torch multiplies with its reciprocal
    q = torch.where(most > 0, groups * (steps / most), torch.zeros_like(groups)).round().to(torch.int32)
    high = (q + 128) >> 8
    scale = most / steps
    sums = scale * q.view(-1, 2, 16).sum(2)
    parts = [high.to(torch.int8), (q - 256 * high).to(torch.int8), scale.view(torch.int8), sums.view(torch.int8)]
    return torch.cat([part.reshape(-1) for part in parts])


def read_back(vector: Tensor, cols: int) -> Tensor:
    """The float32 values that a quantised vector stands for."""
    high, low = vector[:cols].float(), vector[cols : 2 * cols].float()
    scale = vector[2 * cols : 2 * cols + cols // 8].clone().view(torch.float32)
    return (256 * high + low) * scale.repeat_interleave(32)


class PlainDecode:
    """As `kernels.decode.DecodeKernels`; where that takes addresses, they are the CPU's."""

    planes = PLANES

    def vector(self, cols: int, device: torch.device, count: int = 1) -> Tensor:
        """Room for `count` quantised vectors."""
        return torch.zeros(count * vector_bytes(cols), dtype=torch.int8, device=device)

    def norm(
        self,
        x: Tensor,
        weight: Tensor,
        epsilon: float,
        out: Tensor,
        normed: Tensor | None = None,
        host: Tensor | None = None,
    ) -> None:
        """weight * x / rms(x), rounded as upstream's norm rounds it."""
        wide = x.flatten().float()
        value = weight * (wide * torch.rsqrt(wide.pow(2).mean() + epsilon)).to(x.dtype)
        out.copy_(quantised(value))
        for target in (normed, host):
            if target is not None:
                target.copy_(value.view_as(target))

    def quantise(self, x: Tensor, out: Tensor) -> None:
        """x in `out`."""
        out.copy_(quantised(x.flatten()))

    def multiply(
        self, first: Matrix, x: Tensor, out: Tensor, base: Tensor | None = None, second: Matrix | None = None
    ) -> None:
        """The rows of both weights times x, and `base` added."""
        value = torch.cat([_floats(matrix) @ read_back(x, first.cols) for matrix in (first, second) if matrix])
        if base is not None:
            value = value + base.flatten().float()
        out.copy_(value.view_as(out))

    def gate_up(
        self, weights: Slots, slots: Tensor | None, x: Tensor, hidden: Tensor, choices: int, width: int, cols: int
    ) -> None:
        """silu(gate x) * (up x) of each choice that has a slot."""
        size, given = vector_bytes(width), read_back(x, cols)
        for choice, slot in enumerate([0] if slots is None else slots.tolist()):
            if slot >= 0:
                at = slot * weights.stride
                one, other = (_at(weights.gate_kind, w + at, (width, cols)) @ given for w in (weights.gate, weights.up))
                value = torch.nn.functional.silu(one) * other
                hidden[choice * size : (choice + 1) * size] = quantised(value)

    def down(self, weights: Slots, slots: Tensor, scales: Tensor, hidden: Tensor, out: Tensor, width: int) -> None:
        """Adds the weighted sum over the choices that have a slot."""
        size = vector_bytes(width)
        for choice, slot in enumerate(slots.tolist()):
            if slot >= 0:
                matrix = _at(weights.down_kind, weights.down + slot * weights.stride, (out.numel(), width))
                inner = read_back(hidden[choice * size : (choice + 1) * size], width)
                out += scales[choice] * (matrix @ inner)

    def latents(
        self,
        given: Tensor,
        weights: tuple[Tensor, Tensor],
        epsilon: float,
        angles: tuple[Tensor, Tensor],
        position: Tensor,
        table: Tensor,
        cache: Tensor,
        out: Tensor,
    ) -> None:
        """Norms, RoPE of the key, and the cache's entry."""
        query, rank = weights[0].numel(), weights[1].numel()
        parts = [given[:query], given[query : query + rank]]
        normed = [w.float() * p * torch.rsqrt(p.pow(2).mean() + epsilon) for w, p in zip(weights, parts, strict=True)]
        out.copy_(quantised(normed[0]))
        at, page = int(position), cache.shape[1]
        entry = cache[int(table[at // page]), at % page].view(-1)
        entry.copy_(torch.cat([normed[1], turned(given[query + rank :], *angles)]))

    def absorb(self, query: Tensor, kv_b: Tensor, heads: Heads, angles: tuple[Tensor, Tensor], out: Tensor) -> None:
        """Each head's query over the cache."""
        both = query.view(heads.number, -1)
        weight = kv_b.view(heads.number, -1, heads.rank)[:, : heads.nope].float()
        plain = torch.einsum("hn,hnr->hr", both[:, : heads.nope], weight)
        out.copy_(torch.cat([plain, turned(both[:, heads.nope :], *angles)], 1).view_as(out))

    def values(self, attended: Tensor, kv_b: Tensor, heads: Heads, out: Tensor) -> None:
        """Each head's values, quantised."""
        weight = kv_b.view(heads.number, -1, heads.rank)[:, heads.nope :].float()
        value = torch.einsum("hr,hvr->hv", attended.view(heads.number, heads.rank).float(), weight)
        out.copy_(quantised(value.flatten()))

    def router(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        choice: Choice,
        products: Tensor,
        table: Tensor,
        slots: Tensor,
        weights: Tensor,
        host: tuple[Tensor, Tensor],
        uses: Tensor,
    ) -> None:
        """DeepSeek-V3's choice (modeling_deepseek_v3.MoEGate), and which experts are here."""
        products.copy_(weight @ x.flatten().float())
        score = products.sigmoid()
        rank = score + bias
        best = rank.view(choice.groups, -1).topk(2, dim=1)[0].sum(1)
        group = torch.zeros(choice.groups, dtype=torch.bool).index_fill_(
            0, best.topk(choice.groups_used)[1].cpu(), value=True
        )
        rank = torch.where(group.to(rank.device).repeat_interleave(choice.experts // choice.groups), rank, 0.0)
        chosen = rank.topk(choice.used)[1]
        value = score[chosen]
        if choice.normalised:
            value = value / (value.sum() + 1e-20)
        weights.copy_(value * choice.factor)
        slots.copy_(table[chosen])
        host[0].copy_(torch.where(slots < 0, chosen, -1))
        host[1].copy_(weights)
        uses.index_add_(0, chosen, torch.ones_like(chosen))

    def layer_sum(self, base: Tensor, routed: Tensor, host: Tensor | None, out: Tensor) -> None:
        """The three together, rounded once."""
        wide = routed if host is None else routed + host.to(routed.device).float()
        out.copy_((base.flatten().float() + wide).view_as(out))

    def dequantise(self, kind: int, blocks: int, out: Tensor) -> None:
        """The elements at address `blocks`."""
        out.copy_(_at(kind, blocks, tuple(out.shape)))


def turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """RoPE over the last axis as DeepSeek has it: neighbours turn, and come out as two halves; float32."""
    first, second = x[..., 0::2].float(), x[..., 1::2].float()
    cos, sin, half = cosine.float(), sine.float(), first.shape[-1]
    return torch.cat([first * cos[:half] - second * sin[:half], second * cos[half:] + first * sin[half:]], -1)


def _floats(matrix: Matrix) -> Tensor:
    return dequantise(matrix.data, GgmlType(matrix.kind), (matrix.rows, matrix.cols)).to(matrix.data.device)


def _at(kind: int, address: int, shape: tuple[int, ...]) -> Tensor:
    raw = bytearray(ctypes.string_at(address, GgmlType(kind).nbytes(math.prod(shape))))
    return dequantise(torch.frombuffer(raw, dtype=torch.uint8), GgmlType(kind), shape)
