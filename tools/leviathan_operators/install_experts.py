"""Installs the GPU part of a loaded model's experts: counters, a ring for streaming, and a measured threshold.

If a part is not possible, a log line says why, and the CPU computes these experts.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from leviathan_engine.gguf.types import GgmlType

from .experts import calibrate
from .experts.counts import NAME, PLACEMENT, PlacementFile, UseFile, Uses
from .experts.device import DeviceLayer
from .experts.files import LayerFiles, OpenFiles, layer_files
from .experts.installed import Installed, Options, Placed, Say
from .experts.page_locked import PageLocked
from .experts.placement import Candidate, Counts, choose, evened, hit_rate
from .experts.products import Products
from .experts.replacing import OnDevice
from .experts.resident import Held, load
from .experts.ring import Ring
from .experts.streamed import Link, StreamedExperts, StreamedLayer, experts_of, owners, turns
from .kernels.library import KernelError, Library

# Experts in a ring, which the readers fill while the GPU computes. DeepSeek-V3's have 25 to 29 MB each.
RING_SLOTS = 16
MOST_READERS = 16
# Two links share a layer's experts, by the measured rates, in this many parts; four links in twice as many.
SHARES = 8


def install(model: Any, options: Options, say: Say) -> Installed:
    """Prepares every layer of experts of `model`, a loaded model of KTransformers."""
    moe = _classes()
    for module in model.modules():
        if type(module) is moe.upstream:
            module.__class__ = moe.ours
    layers: dict[str, list[Placed]] = {}
    for placed in _placed(model, moe.ours):
        layers.setdefault(str(placed.device), []).append(placed)
    on_gpu = {name: placed for name, placed in layers.items() if placed[0].device.type == "cuda"}
    devices: dict[str, _Device] = {}
    uses: Uses | None = None
    locked: PageLocked | None = None
    if on_gpu:
        try:
            library = Library()
        except OSError as err:
            say(f"experts: all on the CPU, because the library of GPU operators cannot be loaded: {err}")
            return Installed(layers, {}, [], uses, options, say)
        if options.state is not None:
            every = [placed for there in layers.values() for placed in there]
            numbers = sorted(placed.number for placed in every)
            uses = Uses(UseFile(options.state / NAME, numbers, every[0].files.experts), say)
            if options.counts is not None:
                uses.take(options.counts)
        readers = _readers(options, len(on_gpu))
        # Every GPU's ring takes experts of every layer, so it has room for the largest of all.
        sizes = [placed.files for there in on_gpu.values() for placed in there if not placed.files.unfit()]
        for name, placed_there in on_gpu.items():
            device = _on_device(library, placed_there, sizes, readers, options, uses.before if uses else {}, say)
            if device is not None:
                devices[name] = device
        locked = _streaming(library, devices, options, say)
    rings = {name: device.ring for name, device in devices.items()}
    installed = Installed(layers, rings, [device.here for device in devices.values()], uses, options, say, locked)
    installed.keep_placement()
    return installed


@dataclass(frozen=True)
class _Device:
    """What a GPU got: its layers, its ring and buffers, its resident experts, their counters."""

    layers: Sequence[Placed]
    ring: Ring
    products: Products
    held: Mapping[int, Held]
    here: OnDevice


@dataclass(frozen=True)
class _Classes:
    upstream: Any
    ours: Any


def _classes() -> _Classes:
    from ktransformers.operators.experts import KDeepseekV3MoE  # noqa: PLC0415  (it starts the CPU's threads)

    from .operators.experts import HybridMoE  # noqa: PLC0415

    return _Classes(KDeepseekV3MoE, HybridMoE)


def _placed(model: Any, ours: Any) -> list[Placed]:
    numbered = [(n, layer.mlp) for n, layer in enumerate(model.model.layers) if isinstance(layer.mlp, ours)]
    if not numbered:
        return []
    loader, files = numbered[0][1].gguf_loader, OpenFiles()
    tensors = {
        name: (files[loader.tensor_file_map[name]], info["offset"], GgmlType(info["ggml_type"]), tuple(info["shape"]))
        for name, info in loader.tensor_info.items()
        if "_exps." in name
    }
    return [Placed(mlp, n, torch.device(mlp.generate_device), layer_files(tensors, n)) for n, mlp in numbered]


def _on_device(
    library: Library,
    layers: Sequence[Placed],
    sizes: Sequence[LayerFiles],
    readers: int,
    options: Options,
    counts: Counts,
    say: Say,
) -> _Device | None:
    """Adds counters to every layer of a device and, if possible, its ring and its resident experts.

    `sizes`: the layers, of all devices, whose experts the ring takes.
    """
    device = layers[0].device
    choices = layers[0].module.config.num_experts_per_tok
    with torch.cuda.device(device):
        uses = torch.zeros(len(layers), layers[0].files.experts, dtype=torch.int64, device=device)
        for placed, row in zip(layers, uses, strict=True):
            placed.module.device_layer = DeviceLayer(library, placed.files, choices, device, row)
        reason = next((text for placed in layers if (text := placed.files.unfit())), "")
        if reason:
            say(f"experts on {device}: all on the CPU, because {reason}")
            return None
        files = [placed.files for placed in layers]
        try:
            products = Products(library, sizes, device)
            ring = Ring(library, device, RING_SLOTS, max(f.slot_bytes for f in sizes), readers)
        except (KernelError, torch.OutOfMemoryError) as err:
            say(f"experts on {device}: all on the CPU: {str(err).splitlines()[0]}")
            return None
        held = _resident(ring, layers, products, options, counts, say)
        return _Device(layers, ring, products, held, OnDevice(uses, files, ring, held))


def _readers(options: Options, rings: int) -> int:
    """Threads of each ring."""
    return options.readers or max(2, min(MOST_READERS, (len(os.sched_getaffinity(0)) - 2) // rings))


def _chosen(candidates: Sequence[Candidate], room: int, options: Options, counts: Counts) -> dict[int, tuple[int, ...]]:
    """Returns the resident experts: those of the last start if frozen and if they fit, otherwise by counts."""
    if options.frozen and options.state is not None:
        last = PlacementFile(options.state / PLACEMENT).read({c.layer: c.experts for c in candidates})
        if last is not None and sum(c.slot_bytes * len(last[c.layer]) for c in candidates) <= room:
            return last
    return choose(candidates, room, evened(counts))


def _resident(
    ring: Ring, layers: Sequence[Placed], products: Products, options: Options, counts: Counts, say: Say
) -> dict[int, Held]:
    """Loads the resident experts to the device; none if they do not fit."""
    candidates = [Candidate(placed.number, placed.files.experts, placed.files.slot_bytes) for placed in layers]
    chosen = _chosen(candidates, options.resident.get(str(ring.device), 0), options, counts)
    if not any(chosen.values()):
        return {}
    queue = torch.cuda.current_stream(ring.device).cuda_stream
    try:
        held = load(ring, [placed.files for placed in layers], chosen, queue)
        torch.cuda.synchronize(ring.device)
    except torch.OutOfMemoryError as err:
        torch.cuda.empty_cache()
        say(f"experts on {ring.device}: none are resident: {str(err).splitlines()[0]}")
        return {}
    for placed in layers:
        if placed.number in held:
            placed.module.device_layer.keep(held[placed.number].resident, products)
    number = sum(len(experts) for experts in chosen.values())
    size = sum(c.slot_bytes * len(chosen[c.layer]) for c in candidates)
    rate = hit_rate(chosen, {n: counts[n] for n in chosen if n in counts})
    how = "spread evenly over the layers" if rate is None else f"which serve {rate:.0%} of the expert uses so far"
    say(
        f"experts on {ring.device}: {number} of {sum(c.experts for c in candidates)} are resident,"
        f" {size / 1e9:.1f} GB, {how}"
    )
    return held


def _streaming(library: Library, devices: Mapping[str, _Device], options: Options, say: Say) -> PageLocked | None:
    """Makes long chunks of every layer use the links of all devices; returns what is page-locked for them."""
    if not devices:
        return None
    names = " and ".join(devices)
    if options.threshold == 0:
        say(f"experts on {names}: the CPU reads all prompts, because streaming is switched off")
        return None
    layers = sorted((placed for device in devices.values() for placed in device.layers), key=lambda p: p.number)
    held = {number: there for device in devices.values() for number, there in device.held.items()}
    files = [placed.files for placed in layers]
    parts = [StreamedLayer(f, held[f.layer].addresses if f.layer in held else {}) for f in files]
    rings = [device.ring for device in devices.values()]
    locked = PageLocked(library, rings, [(part.files, part.absent) for part in parts], options.page_lock, say)
    middle = len(layers) // 2
    locked.first(middle)
    shares, rates = _measure(rings, layers[middle], parts[middle].absent, cpu=options.threshold is None)
    threshold, how = options.threshold, "as configured"
    if rates is not None:
        threshold = rates.threshold
        gb = files[middle].expert_bytes * files[middle].experts / 1e9
        by = "page-locked" if locked.fits else " + ".join(str(ring.threads) for ring in rings) + " readers"
        how = (
            f"measured: a layer of {gb:.2f} GB streams in {rates.streamed * 1e3:.0f} ms ({gb / rates.streamed:.1f}"
            f" GB/s, {by}{_as_text(shares)}), the CPU reads {rates.tokens} tokens in {rates.cpu * 1e3:.0f} ms"
        )
    links = [Link(d.ring, d.products, share) for d, share in zip(devices.values(), shares, strict=True)]
    streamed = StreamedExperts(library, links, parts)
    for position, placed in enumerate(layers):
        placed.module.device_layer.stream(streamed, position, threshold)
    say(f"experts on {names}: the GPU reads chunks of {threshold} tokens or more ({how})")
    locked.start()
    return locked


def _as_text(shares: Sequence[int]) -> str:
    return f", shares {' + '.join(map(str, shares))}" if len(shares) > 1 else ""


def shares_of(seconds: Sequence[float]) -> list[int]:
    """Returns the links' shares of a layer, from the seconds that each takes alone: SHARES / 2 for an average link."""
    rates = [1 / max(time, 1e-9) for time in seconds]
    return [round(SHARES * len(rates) / 2 * rate / sum(rates)) for rate in rates]


def _measure(
    rings: Sequence[Ring], layer: Placed, absent: Sequence[int], *, cpu: bool
) -> tuple[list[int], calibrate.Rates | None]:
    """Measures one layer: streaming without computing, and computing on the CPU.

    The layer's `absent` experts are streamed, all if there are none; the seconds of streaming are those of all.
    Returns the links' shares, and the rates over all links together and of the CPU, or None without `cpu`.
    """
    queues = [torch.cuda.current_stream(ring.device).cuda_stream for ring in rings]
    random = torch.Generator().manual_seed(0)
    tokens, experts = calibrate.TRIAL_TOKENS, layer.files.experts
    x = torch.randn(tokens, layer.files.hidden, generator=random).bfloat16().to(layer.device)
    chosen = torch.rand(tokens, experts, generator=random).topk(layer.module.config.num_experts_per_tok)
    ids, weights = chosen.indices.to(layer.device), chosen.values.to(layer.device)

    streamed = absent or range(experts)

    def once(order: Sequence[int]) -> None:
        items, owner = [0] * len(rings), owners(streamed, order)
        for n, ring in enumerate(rings):
            ring.begin([layer.files], [experts_of(owner, n)])
        for n in owner.values():
            rings[n].wait(items[n], queues[n])
            rings[n].release(items[n], queues[n])
            items[n] += 1
        for ring in rings:
            torch.cuda.synchronize(ring.device)

    def on_cpu() -> None:
        with torch.cuda.device(layer.device):
            layer.module.experts(x, ids, weights)
            torch.cuda.synchronize(layer.device)

    shares = [1]
    if len(rings) > 1:
        shares = shares_of([calibrate.seconds(partial(once, [n])) for n in range(len(rings))])
    if not cpu:
        return shares, None
    every = calibrate.seconds(partial(once, turns(shares))) * experts / len(streamed)
    return shares, calibrate.Rates(every, calibrate.seconds(on_cpu))
