"""The phases of a deployment, in their order: what each calls, and how its result is summed up.

Modules are imported when their phase begins: none is slow for a phase that is not run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from leviathan.deploy.record import State
from leviathan.errors import ExitCode
from leviathan.site.schema import Site
from leviathan.terminal.output import Console


class Result(Protocol):
    """What every phase returns."""

    def text(self) -> str:
        """The result for people."""

    def data(self) -> dict[str, Any]:
        """The result for programs; `changed`, where it is there, says whether anything is different now."""


@dataclass(frozen=True)
class Work:
    """What the phases share: the site, the environment, the console, the flags, and one connection to the cluster.

    `pushes`: whether the phase `push` is among them, so that `apply` need not ask the registry again.
    """

    site: Site
    environ: Mapping[str, str]
    console: Console
    dry_run: bool = False
    rollback_on_failure: bool = False
    pushes: bool = False

    @cached_property
    def cluster(self) -> Any:
        """The connection, made when the first phase needs it. Errors: ClusterError."""
        from leviathan.cluster.client import connect  # noqa: PLC0415

        return connect(self.site, self.environ)


def preflight(work: Work) -> Result:
    """Everything that would stop the others, found before anything is changed."""
    from leviathan.preflight.preflight_phase import run  # noqa: PLC0415

    found = run(work.site, work.environ, work.console, connecting=lambda: work.cluster)
    for each in found.data()["checks"]:
        if each["level"] != "ok":
            fix = f"; fix: {each['fix']}" if each["fix"] else ""
            work.console.say(f"preflight: {each['level']}: {each['check']}: {each['text']}{fix}")
    if not found.ok:
        raise found.error()
    return found


def push(work: Work) -> Result:
    """The image into the registry, in a process that lets the chunk under way arrive; a given digest is looked for."""
    from leviathan.push.child import look_for, push_guarded  # noqa: PLC0415

    if work.site.image.digest:
        return look_for(work.site, work.environ, work.console)
    return push_guarded(work.site, work.environ, work.console, dry_run=work.dry_run)


def model(work: Work) -> Result:
    """The download, and the files."""
    from leviathan.model.model_phase import run  # noqa: PLC0415

    return run(work.site, lambda: work.cluster, work.console, environ=work.environ)


def apply(work: Work) -> Result:
    """The manifests into the cluster."""
    from leviathan.cluster.server_side_apply import run  # noqa: PLC0415
    from leviathan.push.image_check import check  # noqa: PLC0415

    def pullable(image: str) -> None:
        if not work.pushes:
            check(image, work.site, work.environ, work.console)

    return run(work.site, work.cluster, work.console, environ=work.environ, dry_run=work.dry_run, pullable=pullable)


def rollout(work: Work) -> Result:
    """The pod, until it is ready; where it does not get there, the image that passed last comes back, if asked for."""
    from leviathan.rollout.wait import RolloutError, run  # noqa: PLC0415

    try:
        return run(work.site, work.cluster, work.console)
    except RolloutError:
        if work.rollback_on_failure:
            from leviathan.smoke.tested_deployment import bring_back  # noqa: PLC0415

            work.console.say(f"rollout: {bring_back(work.site, work.cluster, work.console)}")
        raise


def smoke(work: Work) -> Result:
    """The endpoint's answers."""
    from leviathan.smoke.suite import run  # noqa: PLC0415

    return run(
        work.site,
        work.environ,
        work.console,
        cluster=work.cluster,
        rollback_on_failure=work.rollback_on_failure,
    )


@dataclass(frozen=True)
class Phase:
    """One phase.

    Arguments: `run`, its function; `code`, the exit status when it fails; `idle`, how it ends when it changed nothing;
    `line`, which line of its text sums it up; `dry`, whether a dry run has it.
    """

    run: Callable[[Work], Result]
    code: ExitCode
    idle: State = State.PASSED
    line: int = 0
    dry: bool = True

    @property
    def name(self) -> str:
        """Its name, which is also its command's."""
        return self.run.__name__


PHASES = (
    Phase(preflight, ExitCode.PREFLIGHT, line=-1),
    Phase(push, ExitCode.PUSH, State.UNCHANGED, line=1),
    Phase(model, ExitCode.MODEL, dry=False),
    Phase(apply, ExitCode.APPLY, State.UNCHANGED, line=-1),
    Phase(rollout, ExitCode.ROLLOUT, dry=False),
    Phase(smoke, ExitCode.SMOKE, dry=False),
)
NAMES = tuple(phase.name for phase in PHASES)
