"""The start budget: computed from sizes and bandwidths, it sets every timeout that could interrupt a start."""

import math
from dataclasses import dataclass

from leviathan.site.schema import Site

#: Seconds between two startup probes.
PROBE_PERIOD_S = 10
#: Seconds that the pod has to shut down: up to 30 s for the engine to finish or cancel, and 30 s of reserve.
GRACE_S = 60


@dataclass(frozen=True)
class StartBudget:
    """The time that a start may take, in seconds, including the margin.

    `load_s`: reading the model. `setup_s`: the rest of the engine's start. `pull_s`: pulling the image. `end_s`:
    shutting down the old pod.
    """

    load_s: float
    setup_s: float
    pull_s: float
    end_s: float

    @property
    def failure_threshold(self) -> int:
        """failureThreshold of the startup probe, which covers load and setup."""
        return math.ceil((self.load_s + self.setup_s) / PROBE_PERIOD_S)

    @property
    def startup_s(self) -> int:
        """Seconds from the container's start until the kubelet restarts it."""
        return self.failure_threshold * PROBE_PERIOD_S

    @property
    def progress_deadline_s(self) -> int:
        """progressDeadlineSeconds: seconds from the change of the Deployment until its rollout counts as failed."""
        return self.startup_s + math.ceil(self.pull_s + self.end_s)

    def text(self) -> str:
        """The budget and its parts, in one line."""
        return (
            f"start budget: load {self.load_s:.0f} s + setup {self.setup_s:.0f} s = startupProbe {self.startup_s} s;"
            f" + image pull {self.pull_s:.0f} s + shutdown of the old pod {self.end_s:.0f} s"
            f" = progressDeadlineSeconds {self.progress_deadline_s} s"
        )


def start_budget(site: Site) -> StartBudget:
    """The budget of a site.

    load = model.size_gb ÷ start.disk_mb_per_s; pull = start.image_gb ÷ start.network_mb_per_s; these two and
    start.setup_s are multiplied by start.margin. Sizes are in 10^9 bytes, rates in 10^6 bytes per second.
    """
    start = site.start
    return StartBudget(
        load_s=start.margin * site.model.size_gb * 1000 / start.disk_mb_per_s,
        setup_s=start.margin * start.setup_s,
        pull_s=start.margin * start.image_gb * 1000 / start.network_mb_per_s,
        end_s=GRACE_S,
    )
