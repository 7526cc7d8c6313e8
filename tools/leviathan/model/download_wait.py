"""Waits until the pod that downloads the model is done, or explains why it will not be."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.model.download_progress import Talk
from leviathan.model.downloaded import Downloaded, DownloadOutcome, ModelError
from leviathan.model.log_follow import PAUSE_S, Log, LogChunk, Silence, not_started, passing
from leviathan.model.pod import Seen, State, see
from leviathan.site.schema import Site
from leviathan.terminal.output import Console
from leviathan.terminal.progress import time_text


def wait_for_download(
    site: Site, cluster: Cluster, console: Console, *, pause: Callable[[float], None] = time.sleep
) -> Downloaded:
    """Wait until the log of `model.pod` contains `model.done_marker`, or the pod has succeeded.

    Errors: ModelError if the pod is missing, has failed, cannot start, keeps restarting, or logs nothing for
    model.idle_s seconds; ClusterError if the API refuses, or cannot be reached for as long.
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
        quiet_s = float(min(site.rollout.heartbeat_s, site.model.idle_s))
        self.log = Log(cluster, self.namespace, site.model.pod, quiet_s=quiet_s)
        self.talk = Talk(console, site.rollout.heartbeat_s)
        self.began = console.clock()
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
            self.talk.beat()
            if self.talk.silent_s() > self.model.idle_s:
                raise self._hangs(seen)

    def _step(self, seen: Seen, before: Seen | None) -> Downloaded | None:
        """Check the pod and the new part of its log once. Returns the result if the download is done."""
        if before is not None and before.uid and seen.uid and before.uid != seen.uid:
            self.talk.tell(f"{self.where} was recreated, so its log starts again")
            self.log.restart()
            before = None
        if seen.state is State.MISSING:
            raise self._missing(gone=before is not None)
        if seen.state is State.PENDING:
            self.talk.tell(f"{self.where} has not started: {seen.why}")
            self.pause(PAUSE_S)
            return None
        if seen.state is State.STUCK:
            raise self._failed("the pod that downloads the model cannot start", seen)
        restarted = seen.restarts > (before.restarts if before is not None else 0)
        if restarted:
            self.talk.tell(f"the container {seen.container} of {self.where} has restarted ({seen.restarts} times)")
        follow = self.followed and seen.state is State.RUNNING
        if (restarted and self._marked(seen, previous=True, follow=False)) or self._marked(seen, follow=follow):
            return self._done(DownloadOutcome.WAITED if self.followed else DownloadOutcome.ALREADY)
        if seen.state is State.RUNNING:
            self.followed = True  # the existing log is read; from now on, wait for new lines
            return None
        if seen.state is State.BETWEEN:
            self.pause(PAUSE_S)
            return None
        if seen.state is State.SUCCEEDED:
            return self._done(DownloadOutcome.ENDED)
        looping = seen.state is State.LOOPING
        raise self._failed("the download keeps restarting" if looping else "the download failed", seen)

    def _marked(self, seen: Seen, *, follow: bool, previous: bool = False) -> bool:
        """Read the new part of the log; whether it has the marker."""
        try:
            ended = seen.state is not State.RUNNING
            for each in self.log.read(seen.container, follow=follow, ended=ended, previous=previous):
                if isinstance(each, Silence):
                    if each.broken:
                        self.talk.tell(f"the connection to the log broke ({each.broken}); resuming")
                        self.pause(PAUSE_S)
                elif self._hear(each):
                    return True
        except ClusterError as error:
            if seen.state is State.RUNNING and not previous and not not_started(error) and error.status != 404:
                raise
            if seen.state is not State.RUNNING and error.status != 404:
                self.unread = f"{error.what}: {error.why}"
            if seen.state is State.RUNNING and not previous:
                self.pause(PAUSE_S)  # the container has not started yet, or its log was just removed
        return False

    def _hear(self, each: LogChunk) -> bool:
        self.talk.hear(each)
        return self.model.done_marker in each.text.rstrip()

    @contextmanager
    def _outlived(self) -> Iterator[None]:
        """Tolerate an API server or kubelet that cannot be reached, if it has answered before."""
        try:
            yield
        except ClusterError as error:
            answered = self.log.opened > 0
            if not answered or not passing(error):
                raise
            self.talk.tell(f"{error.what} ({error.why or error.reason}); retrying")
            self.pause(PAUSE_S)

    def _done(self, how: DownloadOutcome) -> Downloaded:
        seconds = self.console.clock() - self.began
        reopened = max(self.log.opened - 1, 0)
        return Downloaded(
            how, self.where, self.model.done_marker, seconds, self.log.stamped.count, reopened, self.unread
        )

    def _missing(self, *, gone: bool) -> ModelError:
        return ModelError(
            "the pod that downloads the model was deleted before it was done"
            if gone
            else "the pod that downloads the model does not exist",
            where=self.where,
            remedy=f"start it, or name another one (--set model.pod=NAME, --set model.pod_namespace=NAME); to list the "
            f"pods: {self.kubectl} get pods. If the model is already on the disk: leviathan deploy --from apply",
        )

    def _failed(self, what: str, seen: Seen) -> ModelError:
        self.talk.show_tail()
        last = f"; its last line: {self.talk.last[:200]}" if self.talk.last else ""
        return ModelError(
            what,
            where=self.where,
            why=f"{seen.why or seen.state.value}{last}",
            remedy=f"{self.kubectl} describe pod {self.model.pod}; fix and restart the pod, then run leviathan model "
            "again",
        )

    def _hangs(self, seen: Seen | None) -> ModelError:
        self.talk.show_tail()
        state = f", the pod is {seen.state.value}" if seen is not None and seen.state is not State.RUNNING else ""
        last = f"; its last line: {self.talk.last[:200]}" if self.talk.last else ""
        why = seen.why if seen is not None and seen.why else ""
        return ModelError(
            "the download makes no progress",
            where=self.where,
            why=f"no new log line for {time_text(self.model.idle_s)}{state}{f' ({why})' if why else ''}{last}",
            remedy=f"{self.kubectl} logs {self.model.pod} --tail=50; if it works without logging, wait longer: "
            "--set model.idle_s=SECONDS",
        )
