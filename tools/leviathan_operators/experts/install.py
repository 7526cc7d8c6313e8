"""Gives a loaded model what its experts have on each GPU: counters, a ring for streaming, and a measured threshold.

Whatever cannot be had is left out with a line that says why: then the CPU computes, as it does without this.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from leviathan_engine.gguf.types import GgmlType

from ..kernels.library import KernelError, Library
from . import calibrate
from .counts import NAME, UseFile, Uses
from .device import DeviceLayer
from .files import LayerFiles, OpenFiles, layer_files
from .placement import Candidate, Counts, choose, hit_rate
from .products import Products
from .resident import Held, load
from .ring import Figures, Ring
from .streamed import StreamedExperts, StreamedLayer

# Experts in a ring: what the readers fill while the GPU computes. DeepSeek-V3's take 25 to 29 MB each.
RING_SLOTS = 16
MOST_READERS = 24
# More of a chunk's bytes than this from the disk, and the disk is what it waits for.
DISK_BOUND = 0.05

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """`threshold`: tokens of a chunk from which on experts are streamed; None: measured, 0: never. `resident`: bytes of
    experts that stay on each device, by its name. `state`: the folder that keeps the counts of use, None: nowhere.
    `readers`: threads that read files; None: by the CPUs there are."""

    threshold: int | None = None
    resident: Mapping[str, int] = field(default_factory=dict)
    state: Path | None = None
    readers: int | None = None


@dataclass(frozen=True)
class Placed:
    """One layer of the model: its module, its number, the device that it is on, where its weights lie."""

    module: Any
    number: int
    device: torch.device
    files: LayerFiles


class Installed:
    """What was installed; `rings` and `layers` by device."""

    def __init__(
        self, layers: Mapping[str, Sequence[Placed]], rings: Mapping[str, Ring], uses: Uses | None, say: Say
    ) -> None:
        self.layers, self._rings, self._uses, self._say = layers, rings, uses, say
        self._before = {name: ring.figures() for name, ring in rings.items()}

    def after_prompt(self) -> Figures | None:
        """Totals of what was streamed since the last call, None for nothing; says when the disk was waited for."""
        new = {name: ring.figures().since(self._before[name]) for name, ring in self._rings.items()}
        self._before = {name: ring.figures() for name, ring in self._rings.items()}
        if self._uses is not None:
            self._uses.keep(self._counted)
        total = sum((f.bytes for f in new.values()), 0.0)
        if not total:
            return None
        disk = sum(f.from_disk for f in new.values())
        if disk > DISK_BOUND * total:
            self._say(
                f"experts: disk-bound: {disk / 1e9:.1f} of {total / 1e9:.1f} GB that were streamed came from the disk:"
                f" main memory does not hold all experts (raise the memory limit, or give the GPUs more of them)"
            )
        return Figures(*(sum(getattr(f, name) for f in new.values()) for name in Figures.__dataclass_fields__))

    def _counted(self) -> dict[int, list[int]]:
        """How often each expert was chosen since the start, by layer; waits for the devices."""
        every = (placed for device in self.layers.values() for placed in device)
        return {p.number: p.module.device_layer.uses.tolist() for p in every if p.module.device_layer is not None}


def install(model: Any, options: Options, say: Say) -> Installed:
    """Prepares every layer of experts of `model`, KTransformers', loaded."""
    moe = _classes()
    for module in model.modules():
        if type(module) is moe.upstream:
            module.__class__ = moe.ours
    layers: dict[str, list[Placed]] = {}
    for placed in _placed(model, moe.ours):
        layers.setdefault(str(placed.device), []).append(placed)
    on_gpu = {name: placed for name, placed in layers.items() if placed[0].device.type == "cuda"}
    rings: dict[str, Ring] = {}
    uses: Uses | None = None
    if on_gpu:
        try:
            library = Library()
        except OSError as err:
            say(f"experts: all on the CPU: the library of the GPU's operators cannot be loaded: {err}")
            return Installed(layers, rings, uses, say)
        if options.state is not None:
            every = [placed for there in layers.values() for placed in there]
            numbers = sorted(placed.number for placed in every)
            uses = Uses(UseFile(options.state / NAME, numbers, every[0].files.experts), say)
        for name, placed_there in on_gpu.items():
            ring = _on_device(library, placed_there, options, uses.before if uses else {}, say)
            if ring is not None:
                rings[name] = ring
    return Installed(layers, rings, uses, say)


@dataclass(frozen=True)
class _Classes:
    upstream: Any
    ours: Any


def _classes() -> _Classes:
    from ktransformers.operators.experts import KDeepseekV3MoE  # noqa: PLC0415  (it starts the CPU's threads)

    from ..operators.experts import HybridMoE  # noqa: PLC0415

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


def _on_device(library: Library, layers: Sequence[Placed], options: Options, counts: Counts, say: Say) -> Ring | None:
    """Counters for every layer and, if they can be had, the ring of a device and the experts that stay on it."""
    device = layers[0].device
    choices = layers[0].module.config.num_experts_per_tok
    with torch.cuda.device(device):
        for placed in layers:
            placed.module.device_layer = DeviceLayer(library, placed.files, choices, device)
        reason = next((text for placed in layers if (text := placed.files.unfit())), "")
        if reason:
            say(f"experts on {device}: all on the CPU: {reason}")
            return None
        files = [placed.files for placed in layers]
        try:
            products = Products(library, files, device)
            ring = Ring(library, device, RING_SLOTS, max(f.slot_bytes for f in files), _readers(options))
        except (KernelError, torch.OutOfMemoryError) as err:
            say(f"experts on {device}: all on the CPU: {str(err).splitlines()[0]}")
            return None
        held = _resident(ring, layers, products, options.resident.get(str(device), 0), counts, say)
        if options.threshold == 0:
            say(f"experts on {device}: prompts are read by the CPU's: switched off")
            return ring
        _streaming(library, ring, layers, products, held, options, say)
        return ring


def _readers(options: Options) -> int:
    return options.readers or max(2, min(MOST_READERS, len(os.sched_getaffinity(0)) - 2))


def _resident(
    ring: Ring, layers: Sequence[Placed], products: Products, room: int, counts: Counts, say: Say
) -> dict[int, Held]:
    """Loads what stays on the device; nothing when it does not fit after all."""
    candidates = [Candidate(placed.number, placed.files.experts, placed.files.slot_bytes) for placed in layers]
    chosen = choose(candidates, room, counts)
    if not any(chosen.values()):
        return {}
    queue = torch.cuda.current_stream(ring.device).cuda_stream
    try:
        held = load(ring, [placed.files for placed in layers], chosen, queue)
        torch.cuda.synchronize(ring.device)
    except torch.OutOfMemoryError as err:
        torch.cuda.empty_cache()
        say(f"experts on {ring.device}: none stay there: {str(err).splitlines()[0]}")
        return {}
    for placed in layers:
        if placed.number in held:
            placed.module.device_layer.keep(held[placed.number].resident, products)
    number = sum(len(experts) for experts in chosen.values())
    size = sum(c.slot_bytes * len(chosen[c.layer]) for c in candidates)
    rate = hit_rate(chosen, {n: counts[n] for n in chosen if n in counts})
    how = "evenly over the layers" if rate is None else f"which took {rate:.0%} of the choices counted so far"
    say(
        f"experts on {ring.device}: {number} of {sum(c.experts for c in candidates)} stay there, {size / 1e9:.1f} GB,"
        f" {how}"
    )
    return held


def _streaming(
    library: Library,
    ring: Ring,
    layers: Sequence[Placed],
    products: Products,
    held: Mapping[int, Held],
    options: Options,
    say: Say,
) -> None:
    device, files = ring.device, [placed.files for placed in layers]
    parts = [StreamedLayer(f, held[f.layer].addresses if f.layer in held else {}) for f in files]
    streamed = StreamedExperts(library, ring, parts, products)
    threshold, how = options.threshold, "as given"
    if threshold is None:
        rates = _measure(ring, layers)
        threshold = rates.threshold
        gb = sum(w.bytes for w in (files[0].gate, files[0].up, files[0].down)) * files[0].experts / 1e9
        how = (
            f"measured: a layer of {gb:.2f} GB is streamed in {rates.streamed * 1e3:.0f} ms ({gb / rates.streamed:.1f}"
            f" GB/s, {ring.threads} readers), the CPU reads {rates.tokens} tokens in {rates.cpu * 1e3:.0f} ms"
        )
    for position, placed in enumerate(layers):
        placed.module.device_layer.stream(streamed, position, threshold)
    say(f"experts on {device}: chunks of {threshold} tokens and more are read by the GPU ({how})")


def _measure(ring: Ring, layers: Sequence[Placed]) -> calibrate.Rates:
    """One layer from the middle: streamed without computing, and on the CPU."""
    middle = layers[len(layers) // 2]
    queue = torch.cuda.current_stream(middle.device).cuda_stream
    random = torch.Generator().manual_seed(0)
    tokens, experts = calibrate.TRIAL_TOKENS, middle.files.experts
    x = torch.randn(tokens, middle.files.hidden, generator=random).bfloat16().to(middle.device)
    chosen = torch.rand(tokens, experts, generator=random).topk(middle.module.config.num_experts_per_tok)
    ids, weights = chosen.indices.to(middle.device), chosen.values.to(middle.device)

    def once() -> None:
        ring.begin([middle.files], [range(experts)])
        for item in range(experts):
            ring.wait(item, queue)
            ring.release(item, queue)
        torch.cuda.synchronize(middle.device)

    def on_cpu() -> None:
        middle.module.experts(x, ids, weights)
        torch.cuda.synchronize(middle.device)

    return calibrate.measured(once, on_cpu, calibrate.now)
