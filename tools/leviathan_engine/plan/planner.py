"""Makes the plan: checks the model, chooses the GPUs, places the layers, estimates times, adds warnings."""

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

# Share of a GPU that a plan uses at most: drivers, display and torch's rounding need the rest.
USABLE = 0.97
LEAST_CHUNK = 512
# If the user leaves the choice, chunks shrink until the KV cache has this many tokens.
ENOUGH_CACHE = 32768
LEAST_CACHED = 0.5
NAME_LENGTH = 100
# Bytes of main memory for conversations evicted from the GPUs, if the experts leave that much: 228,000 tokens.
KV_RAM = 16 * 10**9
# Kept free on a GPU with resident experts, for fragmentation of torch's memory blocks.
EXPERTS_SPARE = 1 << 30


def make_plan(model: Model, machine: Machine, request: Request) -> Plan:
    """Makes the plan for `model` on `machine`.

    Errors: PlanError if the model cannot fit, with the bytes that are missing and what to change; GgufError if the
    engine cannot load the model.
    """
    shape = read_shape(model)
    if request.cache_lens is not None:
        check_context(request.cache_lens, shape)
    loader.check(model, shape)
    memory = ram.cpu_memory(model, shape)
    warnings: list[str] = []
    cards, budgets = _cards(machine, request, warnings)
    if len(cards) > shape.layers and request.split is not None:
        raise PlanError(
            f"{len(cards)} GPUs are more than the model's {shape.layers} layers", "give --gpu_split fewer GPUs"
        )
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
    linears = [
        model.tensors[f"blk.{n}.{name}.weight"] for n in range(shape.layers) for name in vram.layer_linears(shape, n)
    ]
    packed = sum(tensor.elements for tensor in linears if not vram.stays_blocks(tensor))
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
    """Returns a name from the header as one printable line, for the table and for a comment of the rule file."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name[:NAME_LENGTH]) or "without a name"


def check_context(cache_lens: int, shape: ModelShape) -> None:
    """Checks `cache_lens` against the model's context length, both in tokens. Errors: PlanError if it is longer."""
    if not 1 <= cache_lens <= shape.context:
        raise PlanError(
            f"--cache_lens: expected 1 to {shape.context} tokens, as the model's context length, got {cache_lens}",
            f"set --cache_lens to at most {shape.context}",
        )


def _cards(machine: Machine, request: Request, warnings: list[str]) -> tuple[list[Gpu], list[int]]:
    """Returns the GPUs to use and the bytes of each: those of the split, or all GPUs, largest first."""
    if not machine.gpus:
        raise PlanError("no GPU is visible", "give the pod a GPU (nvidia.com/gpu in resources.limits)")
    if request.split is None:
        cards = sorted(machine.gpus, key=lambda g: (-g.memory, g.index))
        return cards, [int(g.memory * USABLE) for g in cards]
    if len(request.split) > len(machine.gpus):
        present = "is 1 GPU" if len(machine.gpus) == 1 else f"are {len(machine.gpus)} GPUs"
        raise PlanError(
            f"--gpu_split has {len(request.split)} numbers, but there {present}",
            "give one number for each GPU, or let the planner choose (leviathan plan --choose)",
        )
    gpus = list(machine.gpus[: len(request.split)])
    if any(size > gpu.memory for size, gpu in zip(request.split, gpus, strict=True)):
        gpus = advice.match_by_size(request.split, machine.gpus)
        order = ", ".join(f"{s // MB} MB on GPU {g.index}" for s, g in zip(request.split, gpus, strict=True))
        warnings.append(f"--gpu_split does not fit the GPUs in this order, so it is assigned by size: {order}")
    pairs = [(gpu, size) for gpu, size in zip(gpus, request.split, strict=True) if size]
    if not pairs:
        raise PlanError(
            "--gpu_split gives every GPU 0 MB", "give a number above 0 for at least one GPU, or remove the flag"
        )
    return [gpu for gpu, _ in pairs], [size for _, size in pairs]


def _cache(model: Model, shape: ModelShape, budgets: Sequence[int]) -> int:
    """Returns as many tokens as fit the GPUs, up to the model's context length."""
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
    # Bytes that are missing over all GPUs, with lm_head on the GPU where they are least.
    short = min(
        sum(max(0, n.total - b) for n, b in zip(costs.needs(found, least), budgets, strict=True))
        for found in (costs.balance(budgets, head, least)[1] for head in range(len(budgets)))
    )
    cache = advice.largest_cache(model, shape, costs.cache_lens - 1, budgets, LEAST_CHUNK)
    change = f"set --cache_lens to {cache}, or " if cache else ""
    raise PlanError(
        f"{sum(budgets) / 1e9:.1f} GB of GPU memory are {max(short, 1) / 1e9:.2f} GB too few for {shape.layers} layers,"
        f" a KV cache of {costs.cache_lens} tokens and prompt chunks of {least} tokens",
        f"{change}give the engine more GPU memory (--gpu_split, or another GPU)",
    )


def _cpu(memory: ram.CpuMemory, machine: Machine, kv_ram: int | None) -> CpuPlan:
    """Returns the CPU's part. A requested `kv_ram` takes precedence over the experts; else it is what they leave."""
    limit = min(machine.ram, machine.memory_limit or machine.ram)
    room = limit - memory.process - (kv_ram or 0)
    of = "the pod's memory limit" if limit < machine.ram else "this machine's memory"
    change = "raise resources.limits.memory" if limit < machine.ram else "use a machine with more memory"
    if memory.process_peak > limit:
        raise PlanError(
            f"loading needs {memory.process_peak / 2**30:.1f} GiB in addition to the page cache, but {of} is"
            f" {limit / 2**30:.1f} GiB: {(memory.process_peak - limit) / 2**30:.1f} GiB are missing",
            change,
        )
    if room < memory.experts * LEAST_CACHED:
        missing = memory.experts + memory.process - limit
        raise PlanError(
            f"the experts that do not fit on the GPUs need {memory.experts / 2**30:.1f} GiB, but {of} leaves"
            f" {max(room, 0) / 2**30:.1f} GiB for them: {missing / 2**30:.1f} GiB are missing, and most tokens would"
            f" wait for the disk",
            f"{change}, or use a smaller quantisation",
        )
    if kv_ram is None:
        kv_ram = min(KV_RAM, max(0, room - memory.experts)) // MB * MB
        room -= kv_ram
    return CpuPlan(memory.experts, memory.process, memory.process_peak, machine.ram, limit, room, kv_ram)


def _experts(costs: Costs, model: Model, layers: tuple[int, int], free: int) -> int:
    """Returns the bytes of experts of the GPU's own layers that fit in `free` bytes of its memory."""
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
