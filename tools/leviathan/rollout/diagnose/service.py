"""Checks the path from clients to the engine: the Service, its NodePort, and which server answers there."""

from collections.abc import Iterator

from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot
from leviathan.site.choices import ServiceType


def service_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about the Service and its NodePort."""
    site = commands.site
    where = f"service/{site.workload.service}"
    if snapshot.service is None:
        if "services" not in snapshot.unreadable and snapshot.deployment is not None:
            yield Finding("no-service", Severity.FATAL, where, "the Service does not exist", "", "leviathan apply")
        return
    ports = [port.get("nodePort") for port in snapshot.service["spec"].get("ports", [])]
    wanted = site.engine.node_port if site.service.type is ServiceType.NODE_PORT else 0
    if wanted and wanted not in ports:
        yield Finding(
            "node-port",
            Severity.FATAL,
            where,
            f"the Service does not have the node port {site.engine.node_port}",
            f"it has {', '.join(str(port) for port in ports if port) or 'none'}",
            "leviathan apply, or set engine.node_port to the Service's port",
        )
    selector = snapshot.service["spec"].get("selector") or {}
    if selector.get("app") != site.workload.app:
        yield Finding(
            "service-selector",
            Severity.FATAL,
            where,
            f"the Service does not select app={site.workload.app}",
            f"it selects {selector}",
            "leviathan apply",
        )


def answer_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about the server that answers at the NodePort, and the engine's own status."""
    health, answer = snapshot.health, snapshot.answer
    where = f"{commands.endpoint}/health"
    if health is not None and health.status is not None and not health.ours:
        yield Finding(
            "port-answered-by-another",
            Severity.FATAL if snapshot.ready else Severity.WAIT,
            where,
            "a server other than the engine answers at the NodePort",
            f"HTTP {health.status} without the engine's report",
            f"curl -i {where}; correct cluster.address, or choose another port: --set engine.node_port=N",
        )
    if answer is not None and answer.body.get("status") == "failed":
        yield Finding(
            "engine-failed",
            Severity.WAIT,
            where,
            "the engine reports that it has failed",
            str(answer.body.get("detail", "")),
            "leviathan logs; the liveness probe restarts it within three minutes",
        )
