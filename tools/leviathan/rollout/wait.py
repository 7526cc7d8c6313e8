"""Waits for a rollout: reads, judges and shows its state, until it has succeeded or must be given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from leviathan.cluster.client import LOG_PATIENCE, Cluster, ClusterError, exits
from leviathan.cluster.node_commands import for_system
from leviathan.cluster.objects import ENGINE, container_of, name_of, state_of
from leviathan.errors import ExitCode, LeviathanError
from leviathan.rollout.diagnose.cases import names
from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.judge import Judge, Outcome, Verdict
from leviathan.rollout.observe.reader import Reader
from leviathan.rollout.observe.snapshot import Snapshot, title
from leviathan.rollout.show.plain_lines import Lines
from leviathan.rollout.show.view import Moment, image_text
from leviathan.rollout.stage import line_of, stage_of
from leviathan.site.schema import Site
from leviathan.terminal.output import Console
from leviathan.terminal.progress import time_text

#: Seconds between two checks of the clock while nothing changes, and the minimum between two drawings.
TICK_S = 1.0
LEAST_S = 0.1


class RolloutError(LeviathanError):
    """The rollout was given up. `findings`: the most severe first; `log`: the engine's last lines."""

    exit_code = ExitCode.ROLLOUT

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        why: str = "",
        remedy: str = "",
        outcome: Outcome,
        findings: Sequence[Finding] = (),
        log: Sequence[str] = (),
    ) -> None:
        super().__init__(what, where=where, why=why, remedy=remedy)
        self.outcome = outcome
        self.findings = tuple(findings)
        self.log = tuple(log)

    def report(self) -> dict[str, Any]:
        """The error for `--json`, with all findings and the log."""
        return {
            **super().report(),
            "outcome": self.outcome.name.lower(),
            "findings": [each.data() for each in self.findings],
            "log": list(self.log),
        }


@dataclass(frozen=True)
class RolledOut:
    """A successful rollout. `reached`: whether /health could be reached from here; if not, `why_not` says why."""

    deployment: str
    pod: str
    node: str
    image: str
    endpoint: str
    reached: bool
    why_not: str
    inner_ok: bool
    restarts: int
    seconds: float
    load_s: float | None
    notes: tuple[Finding, ...] = ()

    def text(self) -> str:
        """The result for people."""
        head = f"deployment/{self.deployment}: pod/{self.pod} is ready on {self.node}, {self.image}"
        load = f", the model took {time_text(self.load_s)} to load" if self.load_s is not None else ""
        health = f"{self.endpoint}/health is 200{load}"
        if not self.reached:
            inside = "; through the API server it is 200" if self.inner_ok else ""
            health = (
                f"{self.endpoint}/health cannot be reached from here: {self.why_not}{inside}; check it from a machine"
                f" in that network: curl -i {self.endpoint}/health"
            )
        notes = [f"{each.severity.value}: {each.text()}" for each in self.notes]
        return "\n".join([head, health, *notes, f"waited {time_text(self.seconds)}"])

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "deployment": self.deployment,
            "pod": self.pod,
            "node": self.node,
            "image": self.image,
            "endpoint": self.endpoint,
            "health_reached": self.reached,
            "health_error": self.why_not,
            "health_through_api": self.inner_ok,
            "restarts": self.restarts,
            "seconds": round(self.seconds, 1),
            "load_seconds": self.load_s,
            "notes": [each.data() for each in self.notes],
        }


class Renderer(Protocol):
    """Shows the state of a rollout."""

    def __enter__(self) -> "Renderer": ...

    def __exit__(self, *exc: Any) -> None: ...

    def show(self, moment: Moment) -> None:
        """Show one moment."""


def run(site: Site, cluster: Cluster, console: Console) -> RolledOut:
    """Wait until the Deployment's newest revision is Ready and healthy.

    Errors: RolloutError with the reasons; ClusterError (exit status ROLLOUT) if the API cannot be reached at the start.
    """
    commands = Commands(site)
    with exits(ExitCode.ROLLOUT), Reader(site, cluster).running() as reader:
        judge = Judge(site, console.clock())
        with _renderer(site, console) as renderer:
            verdict, moment = _wait(reader, judge, commands, renderer, console)
        if verdict.good:
            return _rolled_out(site, verdict, moment, commands)
        title_line, log = tail(site, cluster, moment.snapshot)
        for line in (title_line, *(f"  | {line}" for line in log)) if log else ():
            console.say(line)
        raise _given_up(verdict, moment, commands, log)


def _renderer(site: Site, console: Console) -> Renderer:
    if not console.tty:
        return Lines(console, site.rollout.heartbeat_s)
    from leviathan.rollout.show.live_table import LiveTable  # noqa: PLC0415 - rich is slow to import

    return LiveTable(console)


def _wait(
    reader: Reader, judge: Judge, commands: Commands, renderer: Renderer, console: Console
) -> tuple[Verdict, Moment]:
    while True:
        reader.changed.clear()
        snapshot, now = reader.snapshot(), console.clock()
        findings = diagnose(snapshot, commands)
        verdict = judge.judge(snapshot, findings, now)
        moment = Moment(snapshot, findings, now - judge.began, judge.limit_s, now - judge.moved_at)
        renderer.show(moment)
        if verdict is not None:
            return verdict, moment
        reader.changed.wait(TICK_S)
        reader.stop.wait(LEAST_S)


def _rolled_out(site: Site, verdict: Verdict, moment: Moment, commands: Commands) -> RolledOut:
    snapshot = moment.snapshot
    pod = snapshot.pod
    assert pod is not None
    assert snapshot.deployment is not None
    seconds = snapshot.answer.body.get("seconds") if snapshot.answer is not None else None
    return RolledOut(
        deployment=name_of(snapshot.deployment),
        pod=name_of(pod),
        node=str(pod["spec"].get("nodeName", "")),
        image=image_text(pod),
        endpoint=commands.endpoint,
        reached=verdict.outcome is Outcome.HEALTHY,
        why_not=verdict.why,
        inner_ok=snapshot.inner is not None and snapshot.inner.ok,
        restarts=int(container_of(pod).get("restartCount", 0)),
        seconds=moment.elapsed_s,
        load_s=float(seconds) if isinstance(seconds, int | float) else None,
        notes=tuple(each for each in moment.findings if each.severity is Severity.NOTE),
    )


def _given_up(verdict: Verdict, moment: Moment, commands: Commands, log: Sequence[str]) -> RolloutError:
    findings = [each for each in moment.findings if each.severity is not Severity.NOTE]
    if findings:
        first = findings[0]
        late = "" if verdict.outcome is Outcome.FATAL else f"{verdict.why}; "
        what, where, why, remedy = first.what, first.where, f"{late}{first.why}".strip("; "), first.remedy
    else:
        what, where = f"the rollout makes no progress: {line_of(moment.snapshot)}", commands.deployment
        hint = stage_of(moment.snapshot).hint.format_map(names(commands))
        why, remedy = verdict.why, for_system(hint, moment.snapshot.node)
    if verdict.outcome is Outcome.OVERTIME and not findings:
        remedy += "; if it only needs more time: --timeout SECONDS, or raise start.margin, then leviathan apply"
    return RolloutError(
        what, where=where, why=why, remedy=remedy, outcome=verdict.outcome, findings=moment.findings, log=log
    )


def tail(site: Site, cluster: Cluster, snapshot: Snapshot) -> tuple[str, list[str]]:
    """A title, and the last lines of the engine's log; no lines if there is no log.

    If the container was restarted after a failure, returns the log from before the restart, which shows the cause.
    """
    pod = snapshot.pod or next(reversed(snapshot.new_pods), None)
    if pod is None or not pod["spec"].get("nodeName"):
        return "", []
    hasty = cluster.patient(LOG_PATIENCE)
    container = container_of(pod)
    previous = state_of(container)[0] == "running" and int(container.get("restartCount", 0)) > 0
    for before in dict.fromkeys((previous, False)):
        try:
            lines = hasty.log(
                site.cluster.namespace,
                name_of(pod),
                container=ENGINE,
                tail=site.rollout.log_lines,
                previous=before,
                timeout_s=LOG_PATIENCE.request_s,
            )
            found = list(lines)
        except ClusterError:
            continue  # no container has run, or the node does not answer
        if found:
            which = " before its last restart" if before else ""
            return f"the last {len(found)} lines of {title(pod)}{which}:", found
    return "", []
