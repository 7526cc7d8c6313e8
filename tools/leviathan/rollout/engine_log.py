"""Reads the engine's log, or follows it across broken connections until its container ends."""

import time
from collections.abc import Callable, Iterator

from leviathan.cluster.client import LOG_PATIENCE, Cluster, ClusterError
from leviathan.cluster.engine_pod import find_pod
from leviathan.cluster.objects import (
    ENGINE,
    Object,
    container_of,
    name_of,
    state_of,
    uid_of,
)
from leviathan.errors import LeviathanError
from leviathan.rollout.diagnose.container import ending
from leviathan.rollout.observe.snapshot import title
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

#: Seconds between two attempts to reconnect to a log, and the maximum number of attempts without a line.
PAUSE_S = 1.0
TRIES = 30


def read(site: Site, cluster: Cluster, *, previous: bool, tail: int | None) -> tuple[Object, list[str]]:
    """The pod, and the lines of its log. Errors: LeviathanError if there is no log yet."""
    pod = find_pod(site, cluster)
    return pod, list(_lines(site, cluster, pod, previous=previous, tail=tail, follow=False))


def follow(site: Site, cluster: Cluster, console: Console, write: Callable[[str], None], *, tail: int | None) -> Object:
    """Write each new line until the container ends, and return the pod as it is then.

    Reconnects if the connection breaks. Lines of the last seconds may then be written twice, which is reported.
    Errors: LeviathanError if there is no log yet; ClusterError if the API server cannot be reached again.
    """
    pod = find_pod(site, cluster)
    restarts = _restarts(pod)
    last_at, since, breaks = console.clock(), None, 0
    while breaks < TRIES:
        try:
            for line in _lines(site, cluster, pod, previous=False, tail=tail, follow=True, since_s=since):
                last_at, breaks = console.clock(), 0
                write(line)
        except ClusterError as error:
            if error.reason != "ConnectionLost":
                raise
        now = cluster.get(f"/api/v1/namespaces/{site.cluster.namespace}/pods/{name_of(pod)}")
        if now is None or uid_of(now) != uid_of(pod):
            console.say(f"{title(pod)} is gone")
            return pod
        if _restarts(now) != restarts or state_of(container_of(now))[0] != "running":
            console.say(f"{title(now)}: {_end(now, restarts)}")
            return now
        since, tail, breaks = int(console.clock() - last_at) + 1, None, breaks + 1
        console.say(f"the connection broke; resuming with the log of the last {since} s, so lines may appear twice")
        time.sleep(PAUSE_S)
    raise LeviathanError(
        f"the connection to the log broke {TRIES} times in a row",
        where=title(pod),
        remedy="leviathan logs --tail 100, and check the API server",
    )


def _lines(
    site: Site,
    cluster: Cluster,
    pod: Object,
    *,
    previous: bool,
    tail: int | None,
    follow: bool,
    since_s: int | None = None,
) -> Iterator[str]:
    """The lines of the log. Errors: LeviathanError, with the container's state, if there is no log."""
    try:
        yield from cluster.patient(LOG_PATIENCE).log(
            site.cluster.namespace,
            name_of(pod),
            container=ENGINE,
            follow=follow,
            tail=tail,
            previous=previous,
            since_s=since_s,
        )
    except ClusterError as error:
        if error.status != 400:
            raise
        if previous:
            raise LeviathanError(
                "the engine has no earlier log", where=title(pod), why=error.why, remedy="leviathan logs"
            ) from None
        raise LeviathanError(
            "the engine has no log yet",
            where=title(pod),
            why=error.why,
            remedy="leviathan status shows what it waits for",
        ) from None


def _restarts(pod: Object) -> int:
    return int(container_of(pod).get("restartCount", 0))


def _end(pod: Object, restarts: int) -> str:
    """Why the log of the followed container has ended."""
    container = container_of(pod)
    kind, fields = state_of(container)
    if kind == "terminated":
        return f"the engine has ended: {ending(fields)}"
    _, before = state_of(container, "lastState")
    if _restarts(pod) != restarts and before:
        return f"the engine was restarted: {ending(before)}; its new log: leviathan logs --follow"
    return f"the engine does not run: {fields.get('reason', kind or 'no container')}"
