"""The plan as data: everything that the launcher, the rule file, the table and `--json` need."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .place import Need


@dataclass(frozen=True)
class GpuPlan:
    """One card's part. `device` is the engine's name for it; `index` its number in PCI order; bytes in `need`, and of
    `experts` that stay on it."""

    device: str
    index: int
    name: str
    first_layer: int
    last_layer: int
    head: bool
    need: Need
    budget: int
    memory: int
    experts: int


@dataclass(frozen=True)
class CpuPlan:
    """The CPU's part in bytes; `room` is what is left for pages of the experts below the limit.

    `kv_ram` is for conversations that left the GPUs.
    """

    experts: int
    process: int
    process_peak: int
    ram: int
    limit: int
    room: int
    kv_ram: int = 0


@dataclass(frozen=True)
class Plan:
    """Where everything goes. `visible` are the cards for CUDA_VISIBLE_DEVICES, in the engine's order.

    In tokens: `cache_lens`, `max_prompt`, and `chunk`, which is read of a prompt at once. `file_bytes` is read once at
    the start; `resident_share` of all experts' bytes stay on the cards. `start_seconds` and `decode_bound` (tokens a
    second, at best) are None where the disk's or the memory's rate is not known.
    """

    model: str
    layers: int
    cache_lens: int
    max_prompt: int
    chunk: int
    gpus: tuple[GpuPlan, ...]
    cpu: CpuPlan
    file_bytes: int
    start_seconds: float | None
    resident_share: float
    decode_bound: float | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def visible(self) -> tuple[int, ...]:
        """The cards' numbers in PCI bus order, first the one that the engine calls cuda:0."""
        return tuple(gpu.index for gpu in self.gpus)

    @property
    def head_device(self) -> str:
        """The device of lm_head."""
        return next(gpu.device for gpu in self.gpus if gpu.head)

    def environment(self) -> dict[str, str]:
        """Variables that make the engine see the cards in the plan's order."""
        return visible_environment(self.visible)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`: the fields, with each card's totals."""
        document = asdict(self)
        for card, gpu in zip(document["gpus"], self.gpus, strict=True):
            card["need"] |= {"weights": gpu.need.weights, "total": gpu.need.total}
        return document | {"visible": list(self.visible), "environment": self.environment()}


def visible_environment(indices: Sequence[int]) -> dict[str, str]:
    """Variables that make the engine see these cards, by their numbers in PCI bus order: the first is cuda:0."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, indices))}
