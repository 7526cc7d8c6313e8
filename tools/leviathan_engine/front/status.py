"""Where the start is: the phase, how much of the model is loaded, how long it may take; and whether it answers."""

import time
from collections.abc import Callable
from typing import Any

from leviathan_engine.wire import ServedModel

# Below this share of the model the rate so far says little.
LEAST_SHARE = 0.02


class Status:
    """The state that /health, /ready and /metrics show. Times in seconds of `clock`, sizes in bytes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._loading_since: float | None = None
        self._ready_after: float | None = None
        self.phase = "starting"
        self.detail = ""
        self.model: ServedModel | None = None
        self.layers = 0
        self.loaded = 0
        self.ready = False
        self.failed = ""
        self.stopping = False
        self.memory: dict[str, Any] = {}

    def enter(self, phase: str, detail: str = "") -> None:
        """A new phase of the start."""
        self.phase, self.detail = phase, detail

    def progress(self, layers: int, loaded: int) -> None:
        """`layers` and `loaded` bytes of the model have been read."""
        if self._loading_since is None:
            self._loading_since = self._clock()
        self.layers, self.loaded = layers, loaded

    def answer(self) -> None:
        """The model has answered: it is ready, unless the front has failed meanwhile."""
        if self.failed:
            return
        self.ready = True
        self._ready_after = self._clock() - self._started
        self.enter("ready")
        if self.model is not None:
            self.progress(self.model.layers, self.model.total_bytes)

    def fail(self, reason: str) -> None:
        """The engine cannot answer any more."""
        self.ready = False
        self.failed = self.failed or reason
        self.enter("failed", self.failed)

    @property
    def serving(self) -> bool:
        """Whether requests are taken."""
        return self.ready and not self.stopping

    @property
    def share(self) -> float:
        """The part of the model's bytes that is loaded, 0 to 1."""
        total = self.model.total_bytes if self.model else 0
        return min(1.0, self.loaded / total) if total else 0.0

    def estimate(self) -> float | None:
        """Seconds until the model answers; None where nothing is known."""
        if self.ready:
            return 0.0
        if self._loading_since is not None and self.share >= LEAST_SHARE:
            return (self._clock() - self._loading_since) * (1 - self.share) / self.share
        return self.model.start_seconds if self.model else None

    def report(self) -> dict[str, Any]:
        """The body of /health."""
        estimate = self.estimate()
        state = "failed" if self.failed else "stopping" if self.stopping else "ok" if self.ready else "loading"
        return {
            "status": state,
            "phase": self.phase,
            "detail": self.detail,
            "model": self.model.name if self.model else None,
            "layers_loaded": self.layers,
            "layers": self.model.layers if self.model else None,
            "bytes_loaded": self.loaded,
            "bytes": self.model.total_bytes if self.model else None,
            "percent": round(100 * self.share, 1),
            "seconds": round(self._ready_after or self._clock() - self._started, 1),
            "estimate_seconds": None if estimate is None else round(estimate, 1),
        }
