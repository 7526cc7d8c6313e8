"""Waits until the download's pod has said that it is done, and says why when it never will."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.model.errors import ModelError
from leviathan.model.follow import PAUSE_S, Heard, Log, Silence, not_started, passing
from leviathan.model.pod import Seen, State, see
from leviathan.model.progress import Progress, find_progress
from leviathan.output import Console
from leviathan.progress import time_text
from leviathan.site import Site

#: Lines of the log that a failure shows.
TAIL = 15
#: Seconds between two rewritings of the status line: a log can be faster than a terminal.
SHOW_S = 0.2


class How(Enum):
    """How the gate came to be open."""

    ALREADY = "already done"
    WAITED = "done"
    ENDED = "pod succeeded"


@dataclass(frozen=True)
class Downloaded:
    """The download is done: `where` its pod is, seconds waited, lines read, how often the stream was opened again.

    `unread`: why nothing is known of the log of a pod that has succeeded, where the node did not give it.
    """

    how: How
    where: str
    marker: str
    seconds: float
    lines: int
    reopened: int
    unread: str = ""

    def text(self) -> str:
        """The result in one line."""
        if self.how is How.ENDED:
            left = f'"{self.marker}" is not in what is left of its log'
            return f"the pod {self.where} has succeeded ({self.unread or left})"
        said = f'"{self.marker}" is in the log of {self.where}'
        return f"already downloaded: {said}" if self.how is How.ALREADY else f"downloaded: {said}"

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "how": self.how.value,
            "pod": self.where,
            "marker": self.marker,
            "seconds": round(self.seconds, 3),
            "lines": self.lines,
            "reopened": self.reopened,
            "log_unread": self.unread,
        }


def wait_for_download(
    site: Site, cluster: Cluster, console: Console, *, pause: Callable[[float], None] = time.sleep
) -> Downloaded:
    """Wait until `model.done_marker` stands in the log of `model.pod`, or the pod has succeeded.

    Errors: ModelError when the pod is missing, failed, cannot start, restarts again and again, or says nothing for
    model.idle_s seconds; ClusterError when the API refuses or is gone for as long.
    """
    return _Gate(site, cluster, console, pause).run()


class _Gate:
    def __init__(self, site: Site, cluster: Cluster, console: Console, pause: Callable[[float], None]) -> None:
        self.cluster = cluster
        self.console = console
        self.pause = pause
        self.model = site.model
        self.namespace = site.model.pod_namespace or site.cluster.namespace
        self.where = f"{self.namespace}/{site.model.pod}"
        self.kubectl = f"{cluster.kubectl} -n {self.namespace}"
        self.heartbeat_s = site.rollout.heartbeat_s
        quiet_s = float(min(self.heartbeat_s, site.model.idle_s))
        self.log = Log(cluster, self.namespace, site.model.pod, quiet_s=quiet_s)
        self.began = self.heard_at = self.beat_at = console.clock()
        self.shown_at = self.began - SHOW_S
        self.last = ""
        self.progress: Progress | None = None
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.told = ""
        self.followed = False
        self.unread = ""

    def run(self) -> Downloaded:
        seen: Seen | None = None
        while True:
            with self._outlived():
                before, seen = seen, see(self.cluster.get(f"/api/v1/namespaces/{self.namespace}/pods/{self.model.pod}"))
                done = self._step(seen, before)
                if done is not None:
                    self.console.clear()
                    return done
            self._beat()
            if self.console.clock() - self.heard_at > self.model.idle_s:
                raise self._hangs(seen)

    def _step(self, seen: Seen, before: Seen | None) -> Downloaded | None:
        """One look at the pod and at what is new in its log; the result when the download is done."""
        if before is not None and before.uid and seen.uid and before.uid != seen.uid:
            self._tell(f"{self.where} is another pod now: its log begins anew")
            self.log.restart()
            before = None
        if seen.state is State.MISSING:
            raise self._missing(gone=before is not None)
        if seen.state is State.PENDING:
            self._tell(f"{self.where} has not started: {seen.why}")
            self.pause(PAUSE_S)
            return None
        if seen.state is State.STUCK:
            raise self._failed("the download's pod cannot start", seen)
        restarted = seen.restarts > (before.restarts if before is not None else 0)
        if restarted:
            self._tell(f"the container {seen.container} of {self.where} has restarted ({seen.restarts} times)")
        follow = self.followed and seen.state is State.RUNNING
        if (restarted and self._marked(seen, previous=True, follow=False)) or self._marked(seen, follow=follow):
            return self._done(How.WAITED if self.followed else How.ALREADY)
        if seen.state is State.RUNNING:
            self.followed = True  # what there was is read; from now on it is waited for
            return None
        if seen.state is State.BETWEEN:
            self.pause(PAUSE_S)
            return None
        if seen.state is State.SUCCEEDED:
            return self._done(How.ENDED)
        looping = seen.state is State.LOOPING
        raise self._failed("the download restarts again and again" if looping else "the download has failed", seen)

    def _marked(self, seen: Seen, *, follow: bool, previous: bool = False) -> bool:
        """Read what is new in the log; whether the marker is in it."""
        try:
            ended = seen.state is not State.RUNNING
            for each in self.log.read(seen.container, follow=follow, ended=ended, previous=previous):
                if isinstance(each, Silence):
                    if each.broken:
                        self._tell(f"the log's stream broke ({each.broken}); going on where it was")
                        self.pause(PAUSE_S)
                elif self._hear(each):
                    return True
        except ClusterError as error:
            if seen.state is State.RUNNING and not previous and not not_started(error) and error.status != 404:
                raise
            if seen.state is not State.RUNNING and error.status != 404:
                self.unread = f"{error.what}: {error.why}"
            if seen.state is State.RUNNING and not previous:
                self.pause(PAUSE_S)  # it has not started yet, or its log is just gone
        return False

    def _hear(self, each: Heard) -> bool:
        self.heard_at = self.console.clock()
        text = each.text.rstrip()
        self.last = text.rsplit("\r", 1)[-1].strip() or self.last
        self.progress = find_progress(text) or self.progress
        self._beat()
        if each.whole:
            self.tail.append(self.last)
        return self.model.done_marker in text

    @contextmanager
    def _outlived(self) -> Iterator[None]:
        """Outlive an API server or kubelet that is away, once there was an answer at all."""
        try:
            yield
        except ClusterError as error:
            answered = self.log.opened > 0
            if not answered or not passing(error):
                raise
            self._tell(f"{error.what} ({error.why or error.reason}); trying again")
            self.pause(PAUSE_S)

    def _beat(self) -> None:
        now = self.console.clock()
        parts = [self.progress.text()] if self.progress else []
        parts.append(self.last[:120] if self.last else "no word yet")
        still = now - self.heard_at
        parts += [f"nothing new for {time_text(still)}"] if still >= 5 else []
        line = f"model: {', '.join(parts)}"
        if now - self.shown_at >= SHOW_S:
            self.shown_at = now
            self.console.status(line)
        if not self.console.tty and now - self.beat_at >= self.heartbeat_s:
            self.beat_at = now
            self.console.say(line)

    def _tell(self, text: str) -> None:
        if text != self.told:
            self.told = text
            self.console.say(f"model: {text}")

    def _done(self, how: How) -> Downloaded:
        seconds = self.console.clock() - self.began
        reopened = max(self.log.opened - 1, 0)
        return Downloaded(
            how, self.where, self.model.done_marker, seconds, self.log.stamped.count, reopened, self.unread
        )

    def _missing(self, *, gone: bool) -> ModelError:
        return ModelError(
            "the download's pod was deleted before it was done" if gone else "there is no pod that downloads the model",
            where=self.where,
            remedy=f"start it, or name another one (--set model.pod=NAME, --set model.pod_namespace=NAME); what there "
            f"is: {self.kubectl} get pods. If the model is on the disk: leviathan deploy --from apply",
        )

    def _failed(self, what: str, seen: Seen) -> ModelError:
        self._show_tail()
        last = f"; its last line: {self.last[:200]}" if self.last else ""
        return ModelError(
            what,
            where=self.where,
            why=f"{seen.why or seen.state.value}{last}",
            remedy=f"{self.kubectl} describe pod {self.model.pod}; correct it, start it again, and run "
            "leviathan model again",
        )

    def _hangs(self, seen: Seen | None) -> ModelError:
        self._show_tail()
        state = f", the pod is {seen.state.value}" if seen is not None and seen.state is not State.RUNNING else ""
        last = f"; its last line: {self.last[:200]}" if self.last else ""
        why = seen.why if seen is not None and seen.why else ""
        return ModelError(
            "the download hangs",
            where=self.where,
            why=f"nothing new in its log for {time_text(self.model.idle_s)}{state}{f' ({why})' if why else ''}{last}",
            remedy=f"{self.kubectl} logs {self.model.pod} --tail=50; if it works in silence, wait longer: "
            "--set model.idle_s=SECONDS",
        )

    def _show_tail(self) -> None:
        with suppress(IndexError):
            self.console.clear()
            for line in self.tail:
                self.console.say(f"  | {line[:300]}")
