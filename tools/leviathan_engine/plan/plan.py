"""The plan as data: everything that the launcher, the rule file, the table and `--json` need."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .place import Need


@dataclass(frozen=True)
class GpuPlan:
    """One GPU's part. `device` is the worker's name for it, `index` its number in PCI order; `need` and the resident
    `experts` are in bytes."""

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
    """The CPU's part in bytes. `room` is what the limit leaves for the experts' page cache.

    `kv_ram` is for the KV cache of conversations that were evicted from the GPUs.
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
    """Where everything goes. `visible` are the GPUs for CUDA_VISIBLE_DEVICES, in the worker's order.

    `cache_lens`, `max_prompt` and `chunk` are in tokens; a prompt is read in chunks. The start reads `file_bytes` once.
    `resident_share` is the share of all experts' bytes that is resident on GPUs. `start_seconds` and `decode_bound`
    (upper bound in tokens per second) are None if the rate of the disk or of the memory is not known.
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
        """The GPUs' indices in PCI bus order; the first one is the worker's cuda:0."""
        return tuple(gpu.index for gpu in self.gpus)

    @property
    def head_device(self) -> str:
        """The device of lm_head."""
        return next(gpu.device for gpu in self.gpus if gpu.head)

    def environment(self) -> dict[str, str]:
        """Returns variables that make the worker see the GPUs in the plan's order."""
        return visible_environment(self.visible)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, with each GPU's totals, for `--json`."""
        document = asdict(self)
        for card, gpu in zip(document["gpus"], self.gpus, strict=True):
            card["need"] |= {"weights": gpu.need.weights, "total": gpu.need.total}
        return document | {"visible": list(self.visible), "environment": self.environment()}


def visible_environment(indices: Sequence[int]) -> dict[str, str]:
    """Returns variables that make the worker see the GPUs with these PCI bus indices; the first becomes cuda:0."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, indices))}
