"""What `install` gave a model's experts on each GPU, and what is done with it while the engine runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .counts import PLACEMENT, PlacementFile, Uses
from .files import LayerFiles
from .placement import Counts
from .replacing import OnDevice
from .ring import Figures, Ring

# More of a chunk's bytes than this from the disk, and the disk is what it waits for.
DISK_BOUND = 0.05

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """`threshold`: tokens of a chunk from which on experts are streamed; None: measured, 0: never. `resident`: bytes of
    experts that stay on each device, by its name. `state`: the folder that keeps the counts of use, None: nowhere.
    `readers`: threads that read files; None: by the CPUs there are. `frozen`: experts stay where the last start had
    them, and while the engine runs. `counts`: another machine's counts of use, for a start without any."""

    threshold: int | None = None
    resident: Mapping[str, int] = field(default_factory=dict)
    state: Path | None = None
    readers: int | None = None
    frozen: bool = False
    counts: Path | None = None


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
        self,
        layers: Mapping[str, Sequence[Placed]],
        rings: Mapping[str, Ring],
        devices: Sequence[OnDevice],
        uses: Uses | None,
        options: Options,
        say: Say,
    ) -> None:
        self.layers, self._rings, self._devices, self._uses, self._say = layers, rings, devices, uses, say
        self._options = options
        self._wanted: Counts = {}
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

    def hit_ratio(self) -> float | None:
        """The share of the choices since the start that found their expert on a GPU, as of the last `rest`."""
        chosen = sum(device.chosen for device in self._devices)
        return sum(device.found for device in self._devices) / chosen if chosen else None

    def rest(self) -> bool:
        """Once a minute keeps the counts; then, unless frozen, experts wanted more take a few slots.

        Only between answers. Returns whether more are to move: it may be called again, or never.
        """
        counted = {layer: row for device in self._devices for layer, row in device.counted().items()}
        total = self._uses.keep(lambda: counted) if self._uses is not None else None
        if total is not None:
            self._wanted = {} if self._options.frozen else total
        moved = sum(len(device.follow(self._wanted)) for device in self._devices) if self._wanted else 0
        if not moved:
            self._wanted = {}
            return False
        self._say(f"experts: {moved} changed places, as the counts of use say")
        self.keep_placement()
        return True

    def keep_placement(self) -> None:
        """Writes which experts are where, for a start with the placement frozen."""
        placement = {layer: row for device in self._devices for layer, row in device.placement.items()}
        try:
            if self._options.state is not None:
                PlacementFile(self._options.state / PLACEMENT).write(placement)
        except OSError as err:
            self._say(f"experts: the placement is not kept: {err}")
