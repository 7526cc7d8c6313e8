"""What `install` added to a model's experts on each GPU, and how it is used while the engine runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .counts import PLACEMENT, PlacementFile, Uses
from .files import LayerFiles
from .page_locked import PageLocked
from .placement import Counts, evened
from .replacing import OnDevice
from .ring import Figures, Ring

# If a larger share of a chunk's bytes comes from the disk, the disk is the bottleneck.
DISK_BOUND = 0.05

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """`threshold`: chunks of at least this many tokens are streamed; None: measured, 0: never. `resident`: bytes of
    resident experts on each device, by its name. `state`: the folder for the counts of uses, None: not stored.
    `readers`: threads that read files; None: depends on the CPUs. `frozen`: experts stay where the last start had them.
    `counts`: another machine's counts of uses, for a start without any. `page_lock`: bytes of main memory that
    may be page-locked for experts."""

    threshold: int | None = None
    resident: Mapping[str, int] = field(default_factory=dict)
    state: Path | None = None
    readers: int | None = None
    frozen: bool = False
    counts: Path | None = None
    page_lock: int = 0


@dataclass(frozen=True)
class Placed:
    """One layer of the model: its module, its number, its device, the files of its weights."""

    module: Any
    number: int
    device: torch.device
    files: LayerFiles


class Installed:
    """What was installed; `rings` and `layers` by device."""

    def __init__(
        self,
        layers: Mapping[str, Sequence[Placed]],
        rings: Mapping[str, Ring],
        devices: Sequence[OnDevice],
        uses: Uses | None,
        options: Options,
        say: Say,
        locked: PageLocked | None = None,
    ) -> None:
        self.layers, self._rings, self._devices, self._uses, self._say = layers, rings, devices, uses, say
        self._options, self._locked = options, locked
        self._wanted: Counts = {}
        self._before = {name: ring.figures() for name, ring in rings.items()}

    def before_chunk(self, tokens: int) -> None:
        """Starts to stream experts for a chunk of `tokens` tokens, if it will be streamed: the layers before the first
        experts hide the time of the first copies. Errors: KernelError.
        """
        layers = (placed for there in self.layers.values() for placed in there)
        first = min(layers, key=lambda placed: placed.number, default=None)
        if first is not None and first.module.device_layer is not None:
            first.module.device_layer.ahead(tokens)

    def after_prompt(self) -> Figures | None:
        """Returns the totals streamed since the last call, None for none; logs if the disk was the bottleneck."""
        new = {name: ring.figures().since(self._before[name]) for name, ring in self._rings.items()}
        self._before = {name: ring.figures() for name, ring in self._rings.items()}
        total = sum((f.bytes for f in new.values()), 0.0)
        if not total:
            return None
        disk = sum(f.from_disk for f in new.values())
        if disk > DISK_BOUND * total:
            self._say(
                f"experts: disk-bound: {disk / 1e9:.1f} of {total / 1e9:.1f} GB that were streamed came from the disk,"
                f" because main memory does not hold all experts; raise the memory limit, or give the GPUs more experts"
            )
        return Figures(*(sum(getattr(f, name) for f in new.values()) for name in Figures.__dataclass_fields__))

    def hit_ratio(self) -> float | None:
        """Returns the share of the choices since the start whose expert was on a GPU, as of the last `rest`."""
        chosen = sum(device.chosen for device in self._devices)
        return sum(device.found for device in self._devices) / chosen if chosen else None

    def rest(self) -> bool:
        """Saves the counts once a minute; then, unless frozen, moves a few experts that are used more to the GPU.

        Call it only between answers. Returns whether there are more to move.
        """
        counted = {layer: row for device in self._devices for layer, row in device.counted().items()}
        total = self._uses.keep(lambda: counted) if self._uses is not None else None
        if total is not None:
            self._wanted = {} if self._options.frozen else evened(total)
        moves = [move for device in self._devices for move in device.follow(self._wanted)] if self._wanted else []
        if not moves:
            self._wanted = {}
            return False
        if self._locked is not None:
            self._locked.swapped(moves)
        self._say(f"experts: {len(moves)} changed places according to the counts of expert uses")
        self.keep_placement()
        return True

    def keep_placement(self) -> None:
        """Saves the placement, for a start with a frozen placement."""
        placement = {layer: row for device in self._devices for layer, row in device.placement.items()}
        try:
            if self._options.state is not None:
                PlacementFile(self._options.state / PLACEMENT).write(placement)
        except OSError as err:
            self._say(f"experts: cannot save the placement: {err}")
