"""Gives a loaded model what its experts have on each GPU: counters, a ring for streaming, and a measured threshold.

Whatever cannot be had is left out with a line that says why: then the CPU computes, as it does without this.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from leviathan_engine.gguf.types import GgmlType

from ..kernels.library import KernelError, Library
from . import calibrate
from .device import DeviceLayer
from .files import LayerFiles, OpenFiles, layer_files
from .products import Products
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
    """`threshold`: tokens of a chunk from which on experts are streamed; None: measured, 0: never.
    `readers`: threads that read files; None: by the CPUs there are."""

    threshold: int | None = None
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

    def __init__(self, layers: Mapping[str, Sequence[Placed]], rings: Mapping[str, Ring], say: Say) -> None:
        self.layers, self._rings, self._say = layers, rings, say
        self._before = {name: ring.figures() for name, ring in rings.items()}

    def after_prompt(self) -> Figures | None:
        """Totals of what was streamed since the last call, None for nothing; says when the disk was waited for."""
        new = {name: ring.figures().since(self._before[name]) for name, ring in self._rings.items()}
        self._before = {name: ring.figures() for name, ring in self._rings.items()}
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
    if on_gpu:
        try:
            library = Library()
        except OSError as err:
            say(f"experts: all on the CPU: the library of the GPU's operators cannot be loaded: {err}")
            return Installed(layers, rings, say)
        for name, placed_there in on_gpu.items():
            ring = _on_device(library, placed_there, options, say)
            if ring is not None:
                rings[name] = ring
    return Installed(layers, rings, say)


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


def _on_device(library: Library, layers: Sequence[Placed], options: Options, say: Say) -> Ring | None:
    """Counters for every layer and, if it can be had, the ring of a device."""
    device = layers[0].device
    choices = layers[0].module.config.num_experts_per_tok
    with torch.cuda.device(device):
        for placed in layers:
            placed.module.device_layer = DeviceLayer(library, placed.files, choices, device)
        reason = next((text for placed in layers if (text := placed.files.unfit())), "")
        if options.threshold == 0:
            reason = "switched off"
        if reason:
            say(f"experts on {device}: prompts are read by the CPU's: {reason}")
            return None
        try:
            return _streaming(library, layers, options, say)
        except (KernelError, torch.OutOfMemoryError) as err:
            say(f"experts on {device}: prompts are read by the CPU's: {str(err).splitlines()[0]}")
            return None


def _streaming(library: Library, layers: Sequence[Placed], options: Options, say: Say) -> Ring:
    device, files = layers[0].device, [placed.files for placed in layers]
    readers = options.readers or max(2, min(MOST_READERS, len(os.sched_getaffinity(0)) - 2))
    ring = Ring(library, device, RING_SLOTS, max(f.slot_bytes for f in files), readers)
    streamed = StreamedExperts(library, ring, [StreamedLayer(f) for f in files], Products(library, files, device))
    threshold, how = options.threshold, "as given"
    if threshold is None:
        rates = _measure(ring, streamed, layers)
        threshold = rates.threshold
        gb = sum(w.bytes for w in (files[0].gate, files[0].up, files[0].down)) * files[0].experts / 1e9
        how = (
            f"measured: a layer of {gb:.2f} GB is streamed in {rates.streamed * 1e3:.0f} ms ({gb / rates.streamed:.1f}"
            f" GB/s, {readers} readers), the CPU reads {rates.tokens} tokens in {rates.cpu * 1e3:.0f} ms"
        )
    for position, placed in enumerate(layers):
        placed.module.device_layer.stream(streamed, position, threshold)
    say(f"experts on {device}: chunks of {threshold} tokens and more are read by the GPU ({how})")
    return ring


def _measure(ring: Ring, streamed: StreamedExperts, layers: Sequence[Placed]) -> calibrate.Rates:
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
