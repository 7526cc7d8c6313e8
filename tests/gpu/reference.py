"""DeepSeek-V3 in plain torch and 32-bit floats, straight from a GGUF file: the engine's numbers are compared with it.

No cache, no absorbed matrices, no kernels of the engine: every position is computed at once as the paper has it. With
`marlin=True` the linear layers that the engine packs for Marlin are first rounded as it rounds them: groups of 64
inputs, symmetric 4 bits, the scale in bfloat16. `forced` hands in the router's choices: one expert exchanged for
another moves the logits far more than rounding does, so the two are held apart (see `compare.py`).
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leviathan_engine.gguf import GgmlType, Model, read_model
from leviathan_engine.gguf.quants import Floats, dequantize
from leviathan_engine.model.shape import ModelShape, Yarn, read_shape
from leviathan_engine.plan.vram import layer_linears, marlin_fits

GROUP = 64
PIECE_BLOCKS = 1 << 13


def requantised(weight: Tensor) -> Tensor:
    """(outputs, inputs) rounded to 4 bits: quotients -8 to 7 of 2/15 of each group's largest magnitude."""
    rows, columns = weight.shape
    groups = weight.reshape(rows, columns // GROUP, GROUP)
    scale = groups.abs().amax(-1, keepdim=True) * (2 / 15)
    steps = (groups / scale).nan_to_num().round().clamp(-8, 7)  # a group of zeros has the scale 0
    return (steps * scale.bfloat16().float()).reshape(rows, columns)


class Reference:
    """One model; weights are read from the file when they are needed."""

    def __init__(self, path: Path, device: str, *, marlin: bool) -> None:
        """Opens the files; `device` is torch's name of where to compute."""
        self._model: Model = read_model(path)
        self.shape: ModelShape = read_shape(self._model)
        self._device = device
        self._marlin = marlin
        # By layer: the experts of the last positions that are to be taken, and what the router was last given.
        self.forced: dict[int, Tensor] = {}
        self.router_inputs: dict[int, Tensor] = {}

    def weight(self, name: str) -> Tensor:
        """A tensor in torch's order of dimensions."""
        tensor = self._model.tensors[name]
        with self._model.parts[tensor.part].path.open("rb") as file:
            file.seek(tensor.offset)
            raw = file.read(tensor.nbytes)
        if tensor.type is GgmlType.F32:
            flat = torch.frombuffer(bytearray(raw), dtype=torch.float32)
        else:
            flat = torch.from_numpy(_dequantized(raw, tensor.type))
        return flat.to(self._device).reshape(tuple(reversed(tensor.shape)))

    def linear(self, layer: int, name: str, x: Tensor) -> Tensor:
        """x times the transposed weight `blk.LAYER.NAME`."""
        weight = self.weight(f"blk.{layer}.{name}.weight")
        rows, columns = weight.shape
        if self._marlin and name in layer_linears(self.shape, layer) and marlin_fits(columns, rows):
            weight = requantised(weight)
        return x @ weight.T

    def logits(self, ids: list[int], first: int) -> Tensor:
        """Logits of the positions from `first` on, (positions, vocabulary)."""
        s = self.shape
        x = self.weight("token_embd.weight")[torch.tensor(ids, device=self._device)]
        cos, sin = rotary(s, len(ids), self._device)
        for layer in range(s.layers):
            x = x + self._attention(layer, self._norm(x, f"blk.{layer}.attn_norm"), cos, sin)
            h = self._norm(x, f"blk.{layer}.ffn_norm")
            x = x + (self._mlp(layer, h, "") if layer < s.dense_layers else self._experts(layer, h))
        return self._norm(x[first:], "output_norm") @ self.weight("output.weight").T

    def _norm(self, x: Tensor, name: str) -> Tensor:
        scaled = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.shape.rms_eps)
        return scaled * self.weight(f"{name}.weight")

    def _attention(self, layer: int, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        s, n = self.shape, len(x)
        q = self.linear(layer, "attn_q_b", self._norm(self.linear(layer, "attn_q_a", x), f"blk.{layer}.attn_q_a_norm"))
        q_nope, q_rope = q.view(n, s.heads, -1).split([s.nope, s.rope], dim=-1)
        latent, k_rope = self.linear(layer, "attn_kv_a_mqa", x).split([s.kv_lora, s.rope], dim=-1)
        kv = self.linear(layer, "attn_kv_b", self._norm(latent, f"blk.{layer}.attn_kv_a_norm"))
        k_nope, value = kv.view(n, s.heads, -1).split([s.nope, s.v_dim], dim=-1)
        q_rope, k_rope = rotate(q_rope, cos, sin), rotate(k_rope.unsqueeze(1), cos, sin)
        scores = torch.einsum("qhd,khd->hqk", q_nope, k_nope) + torch.einsum("qhd,kd->hqk", q_rope, k_rope[:, 0])
        scores = scores * softmax_scale(s)
        hidden = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
        chances = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        out = torch.einsum("hqk,khd->qhd", chances, value).reshape(n, -1)
        return self.linear(layer, "attn_output", out)

    def _mlp(self, layer: int, x: Tensor, kind: str) -> Tensor:
        gate, up = self.linear(layer, f"ffn_gate{kind}", x), self.linear(layer, f"ffn_up{kind}", x)
        return self.linear(layer, f"ffn_down{kind}", torch.nn.functional.silu(gate) * up)

    def scores(self, layer: int, x: Tensor) -> Tensor:
        """The router's sigmoid for every row and expert, without the bias."""
        return (x @ self.weight(f"blk.{layer}.ffn_gate_inp.weight").T).sigmoid()

    def biased(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """What experts are chosen by, (rows, experts), and what groups are: the sum of the two best in each."""
        biased = self.scores(layer, x) + self.weight(f"blk.{layer}.exp_probs_b.bias")
        return biased, biased.view(len(x), self.shape.groups, -1).topk(2, dim=-1)[0].sum(-1)

    def choose(self, layer: int, x: Tensor) -> Tensor:
        """Experts of every row: the best groups, then the best experts in them; in ascending order."""
        s, n = self.shape, len(x)
        biased, groups = self.biased(layer, x)
        kept = torch.zeros_like(groups).scatter_(1, groups.topk(s.groups_used, dim=-1)[1], 1.0)
        within = torch.where(kept.unsqueeze(-1) > 0, biased.view(n, s.groups, -1), 0.0).view(n, -1)
        return within.topk(s.experts_used, dim=-1)[1].sort(-1)[0]

    def route(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Experts and their weights for every row."""
        self.router_inputs[layer] = x
        chosen = self.choose(layer, x)
        if layer in self.forced:
            chosen[-len(self.forced[layer]) :] = self.forced[layer]
        weights = self.scores(layer, x).gather(1, chosen)
        if self.shape.weights_norm:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen, weights * self.shape.weights_scale

    def _experts(self, layer: int, x: Tensor) -> Tensor:
        chosen, weights = self.route(layer, x)
        gate, up, down = (self.weight(f"blk.{layer}.ffn_{part}_exps.weight") for part in ("gate", "up", "down"))
        out = self._mlp(layer, x, "_shexp") if self.shape.experts_shared else torch.zeros_like(x)
        for expert in chosen.unique().tolist():
            row, place = (chosen == expert).nonzero(as_tuple=True)
            mine = x[row]
            hidden = torch.nn.functional.silu(mine @ gate[expert].T) * (mine @ up[expert].T)
            out.index_add_(0, row, (hidden @ down[expert].T) * weights[row, place].unsqueeze(-1))
        return out


def _dequantized(raw: bytes, kind: GgmlType) -> Floats:
    """The elements, worked out in pieces side by side."""
    piece = PIECE_BLOCKS * kind.size
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pieces = pool.map(lambda at: dequantize(raw[at : at + piece], kind), range(0, len(raw), piece))
        return np.concatenate(list(pieces))


def rotary(s: ModelShape, count: int, device: str) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (positions, rope/2), with YaRN's blend of frequencies."""
    powers = torch.arange(0, s.rope, 2, dtype=torch.float32, device=device) / s.rope
    frequencies = s.rope_base**-powers
    if s.yarn is not None:
        low, high = (_correction(s, s.yarn, beta) for beta in (s.yarn.beta_fast, s.yarn.beta_slow))
        low, high = max(math.floor(low), 0), min(math.ceil(high), s.rope - 1)
        ramp = (torch.arange(s.rope // 2, dtype=torch.float32, device=device) - low) / (max(high - low, 0.001))
        mask = 1 - ramp.clamp(0, 1)
        frequencies = frequencies / s.yarn.factor * (1 - mask) + frequencies * mask
    angles = torch.outer(torch.arange(count, dtype=torch.float32, device=device), frequencies)
    return angles.cos(), angles.sin()


def _correction(s: ModelShape, yarn: Yarn, beta: float) -> float:
    return s.rope * math.log(yarn.original_context / (beta * 2 * math.pi)) / (2 * math.log(s.rope_base))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the pairs (0, 1), (2, 3), ... of the last dimension; x is (positions, heads, rope)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return torch.cat([even * cos - odd * sin, odd * cos + even * sin], dim=-1)


def softmax_scale(s: ModelShape) -> float:
    """1/sqrt(head size), times the square of YaRN's attention factor."""
    scale = (s.nope + s.rope) ** -0.5
    if s.yarn is None or s.yarn.factor <= 1:
        return scale
    return scale * (0.1 * s.yarn.mscale * math.log(s.yarn.factor) + 1.0) ** 2
