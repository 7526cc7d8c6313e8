"""The status of the deployment: what runs, whether it is healthy, how fast it is, and current problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.client import Cluster
from leviathan.cluster.objects import container_of, name_of, state_of
from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands, Finding
from leviathan.rollout.observe.health import fetch, proxied
from leviathan.rollout.observe.reader import read_once
from leviathan.rollout.observe.snapshot import Snapshot
from leviathan.rollout.show.view import Row, image_text, rows, told
from leviathan.rollout.stage import Stage, stage_of
from leviathan.site.schema import Site
from leviathan.terminal.progress import time_text

EVENTS = 5
#: The metrics to show: name → label. Source: leviathan_engine.front.metrics.
RATE = "leviathan_tokens_per_second"
SHOWN = {
    "leviathan_generated_tokens_total": "tokens generated",
    "leviathan_running": "requests running",
    "leviathan_queue_waiting": "requests waiting",
}


@dataclass(frozen=True)
class Status:
    """The state of the deployment. `metrics`: name → value of the engine's metrics without labels, may be empty."""

    snapshot: Snapshot
    findings: tuple[Finding, ...]
    metrics: Mapping[str, float]
    endpoint: str

    @property
    def ok(self) -> bool:
        """Whether the newest revision is rolled out and /health answers 200, as far as it can be reached from here."""
        asked = [each for each in (self.snapshot.health, self.snapshot.inner) if each is not None]
        return self.snapshot.ready and any(each.ok for each in asked)

    @property
    def word(self) -> str:
        """The state in a few words."""
        if self.ok:
            return "healthy"
        stage = stage_of(self.snapshot)
        return "ready, /health is not 200" if stage is Stage.READY else stage.value

    def text(self) -> str:
        """The result for people."""
        found: list[Row] = [("status", self.word), *rows(self.snapshot), *self._speed()]
        for event in told(self.snapshot)[-EVENTS:]:
            ago = time_text(max(self.snapshot.now - event.when, 0))
            count = f" (x{event.count})" if event.count > 1 else ""
            found.append(("event", f"{ago} ago, {event.kind.lower()}: {event.reason}{count}: {event.message}"))
        width = max(len(label) for label, _ in found)
        lines = [f"{label:<{width}}  {text}" for label, text in found]
        return "\n".join([*lines, *(f"{each.severity.value}: {each.text()}" for each in self.findings)])

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        snapshot, pod = self.snapshot, self.snapshot.pod
        container = container_of(pod) if pod is not None else {}
        answer = snapshot.answer
        return {
            "status": self.word,
            "stage": stage_of(snapshot).name.lower(),
            "deployment": name_of(snapshot.deployment) if snapshot.deployment else None,
            "current": snapshot.current,
            "pod": name_of(pod) if pod else None,
            "phase": pod.get("status", {}).get("phase") if pod else None,
            "container": state_of(container)[0] or None,
            "restarts": int(container.get("restartCount", 0)),
            "image": image_text(pod) if pod else None,
            "endpoint": self.endpoint,
            "health": dict(answer.body) if answer else None,
            "health_status": snapshot.health.status if snapshot.health else None,
            "health_error": snapshot.health.error if snapshot.health else "",
            "tokens_per_second": self.metrics.get(RATE),
            "metrics": dict(self.metrics),
            "findings": [each.data() for each in self.findings],
            "events": [
                {"when": each.when, "about": f"{each.kind.lower()}/{each.name}", "reason": each.reason}
                | {"message": each.message, "count": each.count, "warning": each.warning}
                for each in told(snapshot)[-EVENTS:]
            ],
        }

    def _speed(self) -> list[Row]:
        found = [(text, f"{self.metrics[name]:g}") for name, text in SHOWN.items() if name in self.metrics]
        rate = self.metrics.get(RATE, 0.0)
        return [*([("tokens/s", f"{rate:.1f}, decoding the last answer")] if rate > 0 else []), *found]


def run(site: Site, cluster: Cluster) -> Status:
    """The current status. Errors: ClusterError if the API cannot be reached or the Deployment cannot be read."""
    snapshot = read_once(site, cluster)
    return Status(
        snapshot, diagnose(snapshot, Commands(site)), _metrics(site, cluster, snapshot), Commands(site).endpoint
    )


def _metrics(site: Site, cluster: Cluster, snapshot: Snapshot) -> Mapping[str, float]:
    """The engine's metrics, read over the same route on which /health answered."""
    if snapshot.health is not None and snapshot.health.ours:
        status, body, _ = fetch(f"{site.endpoint}/metrics")
    elif snapshot.inner is not None and snapshot.inner.ours and snapshot.pod is not None:
        status, body, _ = proxied(cluster, site, name_of(snapshot.pod), "/metrics")
    else:
        return {}
    return parse_metrics(body.decode("utf-8", "replace")) if status == 200 else {}


def parse_metrics(text: str) -> dict[str, float]:
    """The values without labels of Prometheus' text format 0.0.4, of names that begin with `leviathan_`."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.startswith("leviathan_") and "{" not in name:
            try:
                found[name] = float(value.split()[0])
            except (ValueError, IndexError):
                continue
    return found
