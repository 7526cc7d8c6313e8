"""Decides when a rollout has succeeded, and when to give up: a persistent problem, no progress, or no time left."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from leviathan.rollout.diagnose.finding import Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot
from leviathan.rollout.stage import Stage, fingerprint, silence_s, stage_of
from leviathan.site.schema import Site
from leviathan.site.start_budget import start_budget
from leviathan.terminal.progress import time_text

#: Seconds after the pod is Ready until a closed NodePort counts as not reachable from here.
REACH_S = 30.0
#: Seconds without the API server after which the known state is too old to give up because of it.
STALE_S = 10.0


class Outcome(Enum):
    """How a rollout ended. UNSEEN: the pod is Ready, but its address cannot be reached from here."""

    HEALTHY = "healthy"
    UNSEEN = "ready, not reachable from here"
    FATAL = "a permanent problem"
    IDLE = "no progress"
    OVERTIME = "no time left"


@dataclass(frozen=True)
class Verdict:
    """The end of a rollout: its outcome, and why."""

    outcome: Outcome
    why: str = ""

    @property
    def good(self) -> bool:
        """Whether the rollout has succeeded."""
        return self.outcome in (Outcome.HEALTHY, Outcome.UNSEEN)


class Judge:
    """Judges a sequence of snapshots. Arguments: `site`; `began`, in seconds of the clock that `judge` gets."""

    def __init__(self, site: Site, began: float) -> None:
        self.site = site
        self.budget = start_budget(site)
        self.began = began
        self.limit_s = float(site.rollout.timeout_s or self.budget.progress_deadline_s)
        self.moved_at = began
        self._last: object = None
        self._since: dict[tuple[str, str], float] = {}
        self._ready_at: float | None = None

    def judge(self, snapshot: Snapshot, findings: Sequence[Finding], now: float) -> Verdict | None:
        """The verdict at `now`, or None to keep waiting."""
        state = fingerprint(snapshot)
        if state != self._last:
            self._last, self.moved_at = state, now
        self._since = {each.key: self._since.get(each.key, now) for each in findings}
        if snapshot.silent_s < STALE_S:
            verdict = self._done(snapshot, now) or self._fatal(findings, now)
            if verdict is not None:
                return verdict
        if now - self.began >= self.limit_s:
            return Verdict(Outcome.OVERTIME, f"the time limit of {time_text(self.limit_s)} is over")
        silent, allowed = now - self.moved_at, silence_s(snapshot, self.site, self.budget)
        if silent >= allowed:
            return Verdict(Outcome.IDLE, f"no progress for {time_text(silent)}")
        return None

    def _done(self, snapshot: Snapshot, now: float) -> Verdict | None:
        if not snapshot.ready or stage_of(snapshot) is not Stage.READY:
            self._ready_at = None
            return None
        self._ready_at = now if self._ready_at is None else self._ready_at
        health = snapshot.health
        inside = not self.site.endpoint and snapshot.inner is not None and snapshot.inner.ok
        if inside or (health is not None and health.ok):
            return Verdict(Outcome.HEALTHY)
        inner_ok = snapshot.inner is None or not snapshot.inner.ours or snapshot.inner.ok
        if health is not None and health.status is None and inner_ok and now - self._ready_at >= REACH_S:
            return Verdict(Outcome.UNSEEN, health.error)
        return None

    def _fatal(self, findings: Sequence[Finding], now: float) -> Verdict | None:
        lasting = [
            each
            for each in findings
            if each.severity is Severity.FATAL and now - self._since[each.key] >= self.site.rollout.patience_s
        ]
        return Verdict(Outcome.FATAL, lasting[0].what) if lasting else None
