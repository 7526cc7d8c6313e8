"""Follows the download's log and returns each line once, despite broken connections, restarts and silence."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.client import LOG_PATIENCE, Cluster, ClusterError
from leviathan.model.timestamped_log import Stamped

#: Seconds between two checks of a pod that logs nothing.
PAUSE_S = 2.0


@dataclass(frozen=True)
class LogChunk:
    """A part of the log: a `whole` line, or the current text of a line that has not ended yet."""

    text: str
    whole: bool


@dataclass(frozen=True)
class Silence:
    """The stream ended or timed out (`broken` empty), or broke (`broken` says how)."""

    broken: str = ""
    ended: bool = False


class Log:
    """The log of one container of one pod.

    Arguments: `quiet_s`, seconds of silence after which the stream is reopened, to detect a dead connection; `pause`,
    sleeps, for tests.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        pod: str,
        *,
        quiet_s: float,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.cluster = cluster.patient(LOG_PATIENCE)
        self.path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        self.quiet_s = quiet_s
        self.pause = pause
        self.stamped = Stamped()
        self.opened = 0

    def restart(self) -> None:
        """Start from the beginning, because the pod was recreated."""
        self.stamped = Stamped()

    def read(
        self, container: str, *, follow: bool, ended: bool = False, previous: bool = False
    ) -> Iterator[LogChunk | Silence]:
        """Yield the new part of the log since the last read; the last item is a Silence.

        Arguments: `follow`, continue until the container ends; `ended`, the container has ended, so a last line without
        a line end counts as whole; `previous`, the log of the container before its last restart.
        Errors: ClusterError if the log is refused (400: the container has not started yet).
        """
        query: dict[str, Any] = {"container": container, "timestamps": True}
        query |= {"follow": True} if follow else {}
        query |= {"previous": True} if previous else {}
        since = self.stamped.since()
        query |= {"sinceTime": since} if since else {}
        self.opened += 1
        read_s = self.quiet_s if follow else min(self.quiet_s, LOG_PATIENCE.request_s)
        answer = self.cluster.transport.send("GET", self.path, query, stream=True, read_s=read_s)
        yield from self._pieces(answer, ended=ended or previous)

    def _pieces(self, answer: Any, *, ended: bool) -> Iterator[LogChunk | Silence]:
        from urllib3.exceptions import HTTPError, ReadTimeoutError  # noqa: PLC0415 - slow to import

        rest = b""
        try:
            for piece in answer.stream(None, decode_content=True):
                *whole, rest = (rest + piece).split(b"\n")
                for raw in whole:
                    text = self.stamped.take(raw.decode("utf-8", "replace"))
                    if text is not None:
                        yield LogChunk(text, whole=True)
                if rest and self.stamped.grows(tail := rest.decode("utf-8", "replace")):
                    yield LogChunk(tail, whole=False)
            # A stream may end within a line. The whole line then comes when the stream is reopened.
            if rest and ended:
                text = self.stamped.take(rest.decode("utf-8", "replace"))
                if text is not None:
                    yield LogChunk(text, whole=True)
        except ReadTimeoutError:
            yield Silence()
        except (HTTPError, OSError) as error:
            yield Silence(broken=type(error).__name__)
        else:
            yield Silence(ended=True)
        finally:
            answer.close()


def not_started(error: ClusterError) -> bool:
    """Whether there is no log yet, because the container waits or the pod has no node."""
    return error.status == 400


def passing(error: ClusterError) -> bool:
    """Whether this is a transient error of the API server or the kubelet, during which the download continues."""
    return (error.status == 0 and error.reason not in ("NoKubeconfig", "UnknownContext", "BadKubeconfig", "TLS")) or (
        error.status >= 500
    )
