"""One start budget, from bytes and bandwidth, for every time-out that could cut a start short."""

import math
from dataclasses import dataclass

from leviathan.site.schema import Site

#: Seconds between two startup probes.
PROBE_PERIOD_S = 10
#: Seconds that the pod has to end: up to 30 s for the engine to finish or cancel, and as much again.
GRACE_S = 60


@dataclass(frozen=True)
class StartBudget:
    """What a start may take, in seconds, the margin included.

    `load_s` reads the model, `setup_s` is the rest of the engine's start, `pull_s` brings the image to the node,
    `end_s` lets the old pod end.
    """

    load_s: float
    setup_s: float
    pull_s: float
    end_s: float

    @property
    def failure_threshold(self) -> int:
        """Startup probes that may fail: enough for load and set-up."""
        return math.ceil((self.load_s + self.setup_s) / PROBE_PERIOD_S)

    @property
    def startup_s(self) -> int:
        """Seconds from the container's start until it is given up."""
        return self.failure_threshold * PROBE_PERIOD_S

    @property
    def progress_deadline_s(self) -> int:
        """Seconds from the change of the Deployment until its rollout counts as failed."""
        return self.startup_s + math.ceil(self.pull_s + self.end_s)

    def text(self) -> str:
        """The budget with its parts, in one line."""
        return (
            f"start budget: load {self.load_s:.0f} s + set-up {self.setup_s:.0f} s = startupProbe {self.startup_s} s;"
            f" + image pull {self.pull_s:.0f} s + old pod's end {self.end_s:.0f} s"
            f" = progressDeadlineSeconds {self.progress_deadline_s} s"
        )


def start_budget(site: Site) -> StartBudget:
    """The budget of a site.

    load = model.size_gb ÷ start.disk_mb_per_s, pull = start.image_gb ÷ start.network_mb_per_s; both and start.setup_s
    times start.margin. Sizes in 10^9, rates in 10^6 bytes.
    """
    start = site.start
    return StartBudget(
        load_s=start.margin * site.model.size_gb * 1000 / start.disk_mb_per_s,
        setup_s=start.margin * start.setup_s,
        pull_s=start.margin * start.image_gb * 1000 / start.network_mb_per_s,
        end_s=GRACE_S,
    )
