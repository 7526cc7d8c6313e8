"""Makes the plan: checks the model, chooses the cards, places the layers, says what to expect and what to change."""

from collections.abc import Sequence
from dataclasses import replace

from leviathan_engine.errors import PlanError
from leviathan_engine.gguf import Model
from leviathan_engine.machine.gpus import Gpu
from leviathan_engine.model.shape import ModelShape, read_shape

from . import advice, loader, ram, vram
from .machine import MB, Machine, Request
from .place import CHUNK, Costs, Placement, place
from .plan import CpuPlan, GpuPlan, Plan

# A card is never planned fuller than this: drivers, display and torch's rounding take a little.
USABLE = 0.97
LEAST_CHUNK = 512
# Below so many tokens of cache smaller chunks are taken for more of it, where the user leaves the choice.
ENOUGH_CACHE = 32768
LEAST_CACHED = 0.5
NAME_LENGTH = 100
# Bytes of main memory for conversations that left the GPUs, where experts leave as much: 228,000 tokens.
KV_RAM = 16 * 10**9
# Left free on a card beside experts: torch's blocks do not fit into each other without a rest.
EXPERTS_SPARE = 1 << 30


def make_plan(model: Model, machine: Machine, request: Request) -> Plan:
    """The plan for `model` on `machine`.

    Errors: PlanError when it cannot fit, with the bytes that are missing and what to change; GgufError when the model
    is one that the engine cannot load.
    """
    shape = read_shape(model)
    if request.cache_lens is not None:
        check_context(request.cache_lens, shape)
    loader.check(model, shape)
    memory = ram.cpu_memory(model, shape)
    warnings: list[str] = []
    cards, budgets = _cards(machine, request, warnings)
    if len(cards) > shape.layers and request.split is not None:
        raise PlanError(f"{len(cards)} GPUs for {shape.layers} layers", "name fewer GPUs in --gpu_split")
    cache = request.cache_lens or _cache(model, shape, budgets[: shape.layers])
    costs = Costs(model, shape, cache)
    if request.split is None:
        cards, budgets = cards[: shape.layers], budgets[: shape.layers]
    chunk, placement = place(costs, budgets)
    _refuse_small_gpus(model, shape, costs, budgets, chunk)
    chunk = costs.grown(placement, budgets, chunk)
    gpus = _gpu_plans(costs, model, placement, chunk, cards, budgets)
    resident = sum(gpu.experts for gpu in gpus)
    share = resident / memory.experts if memory.experts else 0.0
    memory = replace(memory, experts=memory.experts - resident, token_experts=round(memory.token_experts * (1 - share)))
    cpu = _cpu(memory, machine, request.kv_ram)
    warnings += advice.warnings(machine, memory, cpu)
    packed = sum(
        model.tensors[f"blk.{n}.{name}.weight"].elements
        for n in range(shape.layers)
        for name in vram.layer_linears(shape, n)
    )
    return Plan(
        model=one_line(str(model.metadata.get("general.name", model.parts[0].path.name))),
        layers=shape.layers,
        cache_lens=cache,
        max_prompt=max(1, cache - 1),
        chunk=chunk,
        gpus=gpus,
        cpu=cpu,
        file_bytes=model.file_bytes,
        start_seconds=ram.start_seconds(model, packed, machine.disk_rate),
        resident_share=share,
        decode_bound=ram.decode_bound(memory, cpu.room, machine.ram_rate, machine.disk_rate),
        warnings=tuple(warnings),
        notes=shape.notes,
    )


def one_line(name: str) -> str:
    """A header's name for a line of the table and a comment of the rule file: whatever is in it, it stays one line."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name[:NAME_LENGTH]) or "without a name"


def check_context(cache_lens: int, shape: ModelShape) -> None:
    """Errors: PlanError when a cache of `cache_lens` tokens is longer than what the model can read."""
    if not 1 <= cache_lens <= shape.context:
        raise PlanError(
            f"--cache_lens {cache_lens}: this model reads 1 to {shape.context} tokens",
            f"set --cache_lens to at most {shape.context}",
        )


def _cards(machine: Machine, request: Request, warnings: list[str]) -> tuple[list[Gpu], list[int]]:
    """The cards to use and how many bytes of each: those of the split, or all of them, largest first."""
    if not machine.gpus:
        raise PlanError("no GPU is there", "give the pod a GPU (nvidia.com/gpu), or name one for a dry run")
    if request.split is None:
        cards = sorted(machine.gpus, key=lambda g: (-g.memory, g.index))
        return cards, [int(g.memory * USABLE) for g in cards]
    if len(request.split) > len(machine.gpus):
        raise PlanError(
            f"--gpu_split names {len(request.split)} GPUs and {len(machine.gpus)} are there",
            "give one number for each GPU",
        )
    gpus = list(machine.gpus[: len(request.split)])
    if any(size > gpu.memory for size, gpu in zip(request.split, gpus, strict=True)):
        gpus = advice.match_by_size(request.split, machine.gpus)
        order = ", ".join(f"{s // MB} MB on GPU {g.index}" for s, g in zip(request.split, gpus, strict=True))
        warnings.append(f"--gpu_split does not fit the cards in their order, so it is matched by size: {order}")
    pairs = [(gpu, size) for gpu, size in zip(gpus, request.split, strict=True) if size]
    if not pairs:
        raise PlanError("--gpu_split gives every GPU 0 MB", "give at least one GPU memory, or drop the flag")
    return [gpu for gpu, _ in pairs], [size for _, size in pairs]


def _cache(model: Model, shape: ModelShape, budgets: Sequence[int]) -> int:
    """As many tokens as the cards have room for, up to what the model reads."""
    cache = 0
    for chunk in (CHUNK, CHUNK // 2, CHUNK // 4, LEAST_CHUNK):
        cache = advice.largest_cache(model, shape, shape.context, budgets, chunk)
        if cache >= min(ENOUGH_CACHE, shape.context // 1024 * 1024):
            break
    return cache or min(1024, shape.context)


def _refuse_small_gpus(model: Model, shape: ModelShape, costs: Costs, budgets: Sequence[int], chunk: int) -> None:
    least = min(LEAST_CHUNK, costs.cache_lens)
    if chunk >= least:
        return
    # What is missing: over all cards, with lm_head on the one where that is least.
    short = min(
        sum(max(0, n.total - b) for n, b in zip(costs.needs(found, least), budgets, strict=True))
        for found in (costs.balance(budgets, head, least)[1] for head in range(len(budgets)))
    )
    cache = advice.largest_cache(model, shape, costs.cache_lens - 1, budgets, LEAST_CHUNK)
    change = f"set --cache_lens to {cache}, or " if cache else ""
    raise PlanError(
        f"the GPUs' {sum(budgets) / 1e9:.1f} GB are {max(short, 1) / 1e9:.2f} GB too small for {shape.layers} layers,"
        f" a cache of {costs.cache_lens} tokens and prompts read {least} tokens at a time",
        f"{change}give more GPU memory (--gpu_split, or another card)",
    )


def _cpu(memory: ram.CpuMemory, machine: Machine, kv_ram: int | None) -> CpuPlan:
    """The CPU's part. Memory for conversations goes before the experts' when asked for, else it is what they leave."""
    limit = min(machine.ram, machine.memory_limit or machine.ram)
    room = limit - memory.process - (kv_ram or 0)
    of = "the pod's memory limit" if limit < machine.ram else "this machine's memory"
    change = "raise resources.limits.memory" if limit < machine.ram else "use a machine with more memory"
    if memory.process_peak > limit:
        raise PlanError(
            f"loading takes {memory.process_peak / 2**30:.1f} GiB beside the model's pages, {of} is"
            f" {limit / 2**30:.1f} GiB: {(memory.process_peak - limit) / 2**30:.1f} GiB are missing",
            change,
        )
    if room < memory.experts * LEAST_CACHED:
        missing = memory.experts + memory.process - limit
        raise PlanError(
            f"the experts beside the GPUs' take {memory.experts / 2**30:.1f} GiB, and {of} leaves"
            f" {max(room, 0) / 2**30:.1f} GiB for them: {missing / 2**30:.1f} GiB are missing, and most tokens would"
            f" wait for the disk",
            f"{change}, or use a smaller quantisation",
        )
    if kv_ram is None:
        kv_ram = min(KV_RAM, max(0, room - memory.experts)) // MB * MB
        room -= kv_ram
    return CpuPlan(memory.experts, memory.process, memory.process_peak, machine.ram, limit, room, kv_ram)


def _experts(costs: Costs, model: Model, layers: tuple[int, int], free: int) -> int:
    """Bytes of experts of its own layers that stay on a card with so much memory free."""
    there = sum(
        model.tensors[f"blk.{layer}.{part}"].nbytes
        for layer in range(max(layers[0], costs.shape.dense_layers), layers[1])
        for part in vram.EXPERT_PARTS
    )
    return max(0, min(there, free - costs.stream - EXPERTS_SPARE))


def _gpu_plans(
    costs: Costs, model: Model, placement: Placement, chunk: int, cards: Sequence[Gpu], budgets: Sequence[int]
) -> tuple[GpuPlan, ...]:
    return tuple(
        GpuPlan(
            device=f"cuda:{g}",
            index=card.index,
            name=card.name,
            first_layer=placement.layers[g][0],
            last_layer=placement.layers[g][1] - 1,
            head=g == placement.head,
            need=need,
            budget=budgets[g],
            memory=card.memory,
            experts=_experts(costs, model, placement.layers[g], budgets[g] - need.total),
        )
        for g, (card, need) in enumerate(zip(cards, costs.needs(placement, chunk), strict=True))
    )
