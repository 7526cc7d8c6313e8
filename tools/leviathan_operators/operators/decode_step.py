"""A decode step of DeepSeek-V3 in 20 to 25 kernels per layer instead of 115: the `forward` of layers for one token.

Chunks of a prompt use upstream's forward of the layer, and so does everything with upstream's cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ..kernels.decode import Choice, Heads, Matrix
from ..kernels.library import Slots
from .experts import HybridMoE
from .latent_cache import LatentCache
from .linear import BlockLinear


class Unfit(Exception):
    """A layer that the kernels do not support; the text says why."""


def matrix(module: Any, name: str) -> Matrix:
    """Returns the GGUF blocks of a linear layer. Errors: Unfit if it has none."""
    linear = getattr(module, "generate_linear", None)
    if not isinstance(linear, BlockLinear) or linear.matrix is None:
        raise Unfit(f"{name} is not loaded as GGUF blocks")
    return linear.matrix


def gate_and_up(mlp: Any, name: str) -> tuple[Matrix, Matrix, Matrix]:
    """Returns gate, up and down of a dense layer or a shared expert. Errors: Unfit."""
    gate, up, down = (matrix(getattr(mlp, f"{part}_proj"), f"{name}.{part}_proj") for part in ("gate", "up", "down"))
    if gate.kind != up.kind:
        raise Unfit(f"{name}: gate and up have different types")
    return gate, up, down


class Workspace:
    """The buffers of a step on one device, for all its layers, and values that a step computes once."""

    def __init__(self, kernels: Any, device: torch.device, heads: Heads, query: int, hidden: int, widest: int) -> None:
        def floats(count: int) -> Tensor:
            return torch.zeros(count, dtype=torch.float32, device=device)

        def halves(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.bfloat16, device=device)

        self.input = kernels.vector(hidden, device)
        self.normed, self.middle = halves(hidden), halves(1, 1, hidden)
        self.outputs = [halves(1, 1, hidden), halves(1, 1, hidden)]
        self.low_rank, self.latent = floats(query + heads.rank + heads.rope), kernels.vector(query, device)
        self.query = floats(heads.number * (heads.nope + heads.rope))
        self.absorbed = halves(1, heads.number, heads.rank + heads.rope)
        # (1, 1, heads, rank) with upstream's strides, because its kernel uses the second one as the stride of a head.
        self.attended = halves(1, heads.number, 1, heads.rank).transpose(1, 2)
        self.values = kernels.vector(heads.number * heads.value, device)
        splits = _attention().NUM_KV_SPLITS
        self.logits = torch.zeros(1, heads.number, splits, heads.rank + 1, dtype=torch.float32, device=device)
        self.inner = kernels.vector(widest, device)
        self.routed = floats(hidden)
        self.angles: tuple[Tensor, Tensor] = (halves(heads.rope), halves(heads.rope))
        self.position = self.length = torch.zeros(1, dtype=torch.int64, device=device)

    def begin(self, rotary: Callable[..., Any], position_ids: Tensor) -> None:
        """Computes what all layers of the device share: the token's rotary angles and its number of keys."""
        self.position = position_ids.view(-1)
        self.angles = tuple(part.reshape(-1) for part in rotary(self.normed, position_ids))
        self.length = (self.position + 1).to(torch.int32)


def _attention() -> Any:
    return import_module("ktransformers.operators.attention")


@dataclass(frozen=True)
class Attention:
    """One layer's attention for one token."""

    kernels: Any
    room: Workspace
    module: Any
    heads: Heads
    first: tuple[Matrix, Matrix]
    query: Matrix
    out: Matrix
    kv_b: Tensor

    def __call__(self, base: Tensor, cache: LatentCache) -> None:
        """Computes base + attention in `room.middle` from the normed input."""
        do, room, module = self.kernels, self.room, self.module
        down, latent = self.first
        together = down.kind == latent.kind and down.cols == latent.cols
        do.multiply(
            down,
            room.input,
            room.low_rank if together else room.low_rank[: down.rows],
            None,
            latent if together else None,
        )
        if not together:
            do.multiply(latent, room.input, room.low_rank[down.rows :])
        norms = (module.q_a_layernorm.weight, module.kv_a_layernorm.weight)
        pages, table = cache.key_cache[module.layer_idx], cache.page_table_list[module.layer_idx]
        cache.past_tokens[module.layer_idx] += 1
        epsilon = module.q_a_layernorm.variance_epsilon
        do.latents(room.low_rank, norms, epsilon, room.angles, room.position, table[0], pages, room.latent)
        do.multiply(self.query, room.latent, room.query)
        do.absorb(room.query, self.kv_b, self.heads, room.angles, room.absorbed)
        upstream, rank = _attention(), self.heads.rank
        upstream.decode_attention_fwd_grouped(
            *(room.absorbed, pages, pages[..., :rank], room.attended, table, room.length, room.logits),
            *(upstream.NUM_KV_SPLITS, module.softmax_scale, cache.page_size),
        )
        do.values(room.attended, self.kv_b, self.heads, room.values)
        do.multiply(self.out, room.values, room.middle, base)


@dataclass(frozen=True)
class Dense:
    """A dense layer's feed-forward network for one token."""

    kernels: Any
    room: Workspace
    weights: tuple[Matrix, Matrix, Matrix]
    norm: Any

    def __call__(self, out: Tensor) -> None:
        """From `room.middle` to the layer's output."""
        gate, up, down = self.weights
        do, room = self.kernels, self.room
        do.norm(room.middle, self.norm.weight, self.norm.variance_epsilon, room.input)
        do.gate_up(gate.as_slots(up), None, room.input, room.inner, 1, gate.rows, gate.cols)
        do.multiply(down, room.inner, out, room.middle)


class Experts:
    """A layer of experts for one token: the CPU computes its experts while the GPU computes its own and shared ones."""

    def __init__(
        self, kernels: Any, room: Workspace, module: Any, shared: tuple[Matrix, Matrix, Matrix], norm: Any
    ) -> None:
        """`module` is a HybridMoE with a device layer. Errors: Unfit."""
        gate, here, cpu = module.gate.orig_module, module.device_layer, module.experts.generate_experts
        if here is None:
            raise Unfit("the experts have no device layer")
        if gate.weight.dtype != torch.float32 or gate.topk_method != "noaux_tc" or gate.scoring_func != "sigmoid":
            raise Unfit("the router is not DeepSeek-V3's in float32")
        self._do, self._room, self._shared, self._norm = kernels, room, shared, norm
        self._gate, self._here, self._cpu = gate, here, cpu
        c = gate.config
        self._choice = Choice(
            *(c.n_routed_experts, c.n_group, c.topk_group, c.num_experts_per_tok),
            normalised=bool(c.norm_topk_prob and c.num_experts_per_tok > 1),
            factor=float(c.routed_scaling_factor),
        )
        device, used = gate.weight.device, self._choice.used
        self._products = torch.zeros(self._choice.experts, dtype=torch.float32, device=device)
        self._slots = torch.zeros(used, dtype=torch.int32, device=device)
        self._weights = torch.zeros(used, dtype=torch.float32, device=device)
        self._bias = gate.e_score_correction_bias.float().contiguous()
        self._width = here.files.width
        self._inner = kernels.vector(self._width, device, used)

    def __call__(self, out: Tensor) -> None:
        """From `room.middle` to the layer's output."""
        do, room, cpu, here = self._do, self._room, self._cpu, self._here
        on_cpu = not here.complete
        host = cpu.input_tensor_cpu if on_cpu else None
        do.norm(room.middle, self._norm.weight, self._norm.variance_epsilon, room.input, room.normed, host)
        left = (cpu.expert_ids_cpu, cpu.weights_cpu)
        do.router(
            *(room.normed, self._gate.weight, self._bias, self._choice, self._products, here.table),
            *(self._slots, self._weights, left, here.uses),
        )
        if on_cpu:
            _submit(cpu, self._choice.used, room.normed)
        gate, up, down = self._shared
        do.gate_up(gate.as_slots(up), None, room.input, room.inner, 1, gate.rows, gate.cols)
        do.multiply(down, room.inner, room.routed)
        slots: Slots | None = here.resident_slots
        if slots is not None:
            hidden = room.routed.numel()
            do.gate_up(slots, self._slots, room.input, self._inner, self._choice.used, self._width, hidden)
            do.down(slots, self._slots, self._weights, self._inner, room.routed, self._width)
        if on_cpu:
            _wait(cpu, room.normed)
        do.layer_sum(room.middle, room.routed, cpu.output_cpu if on_cpu else None, out)


def _submit(cpu: Any, used: int, on: Tensor) -> None:
    """Makes the CPU's experts start when the stream gets here; by then their input is in page-locked memory."""
    addresses = (cpu.expert_ids_cpu, cpu.weights_cpu, cpu.input_tensor_cpu, cpu.output_cpu)
    work = cpu.moe.forward(1, used, *(tensor.data_ptr() for tensor in addresses))
    if on.is_cuda:
        cpu.cpu_infer.submit_with_cuda_stream(torch.cuda.current_stream(on.device).cuda_stream, work)
    else:
        cpu.cpu_infer.submit(work)


def _wait(cpu: Any, on: Tensor) -> None:
    if on.is_cuda:
        cpu.cpu_infer.sync_with_cuda_stream(torch.cuda.current_stream(on.device).cuda_stream)
    else:
        cpu.cpu_infer.sync()


class OneToken:
    """A layer's forward: uses the kernels for one token with our cache, `otherwise` for everything else."""

    def __init__(
        self, layer: Any, attention: Attention, body: Callable[[Tensor], None], out: Tensor, *, first: bool
    ) -> None:
        self._otherwise, self._norm = layer.forward, layer.input_layernorm
        self._attention, self._body, self._out, self._first = attention, body, out, first

    def __call__(self, hidden_states: Tensor, *arguments: Any, **named: Any) -> tuple[Any, ...]:
        """Has the arguments and the result of upstream's decoder layer, which returns its cache."""
        cache, positions = named.get("past_key_value"), named.get("position_ids")
        if hidden_states.shape[1] != 1 or not isinstance(cache, LatentCache) or positions is None:
            return self._otherwise(hidden_states, *arguments, **named)  # type: ignore[no-any-return]
        attention = self._attention
        room = attention.room
        if self._first:
            room.begin(attention.module.rotary_emb, positions)
        base = hidden_states.contiguous()
        attention.kernels.norm(base, self._norm.weight, self._norm.variance_epsilon, room.input)
        attention(base, cache)
        self._body(self._out)
        return (self._out, cache) if named.get("use_cache") else (self._out,)


def install(model: Any, kernels: Any, say: Callable[[str], None]) -> int:
    """Installs the decode step in the layers of a loaded model; returns their number, or 0 and logs why."""
    rooms: dict[torch.device, Workspace] = {}
    try:
        made = [_layer(layer, number, kernels, rooms) for number, layer in enumerate(model.model.layers)]
    except Unfit as err:
        say(f"decode: upstream's steps are used, which are slower: {err}")
        return 0
    for layer, forward in zip(model.model.layers, made, strict=True):
        layer.forward = forward
    return len(made)


def _layer(layer: Any, number: int, kernels: Any, rooms: dict[torch.device, Workspace]) -> OneToken:
    module, name = layer.self_attn, f"layer {number}"
    if module.q_lora_rank is None:
        raise Unfit("the query has no low-rank projection")
    parts = ("q_a_proj", "kv_a_proj_with_mqa", "q_b_proj", "o_proj")
    first, latent, query, out = (matrix(getattr(module, part), f"{name}: {part}") for part in parts)
    widths = (module.qk_nope_head_dim, module.qk_rope_head_dim, module.v_head_dim, module.kv_lora_rank)
    heads, kv_b = Heads(module.num_heads, *widths), module.kv_b_proj.weight
    if kv_b.dtype != torch.bfloat16 or not kv_b.is_contiguous():
        raise Unfit(f"{name}: kv_b is not in bfloat16")
    if heads.value % 32 or heads.value > 256 or heads.rank % 8:
        raise Unfit(f"{name}: the heads have unsupported widths")
    mlp, device = layer.mlp, first.data.device
    dense = not isinstance(mlp, HybridMoE)
    if not dense and (mlp.config.n_shared_experts is None or mlp.config.moe_intermediate_size % 256):
        raise Unfit(f"{name}: no shared experts, or experts of an unsupported width")
    weights = gate_and_up(mlp if dense else mlp.shared_experts, name)
    begins = device not in rooms
    if begins:
        widest = max(weights[0].rows, module.config.intermediate_size)
        rooms[device] = Workspace(kernels, device, heads, first.rows, first.cols, widest)
    room = rooms[device]
    attention = Attention(kernels, room, module, heads, (first, latent), query, out, kv_b)
    norm = layer.post_attention_layernorm
    body: Callable[[Tensor], None] = (
        Dense(kernels, room, weights, norm) if dense else Experts(kernels, room, mlp, weights, norm)
    )
    return OneToken(layer, attention, body, room.outputs[number % 2], first=begins)
