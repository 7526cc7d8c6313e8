"""The state of the start: the phase, how much of the model is loaded, the remaining time, and whether it is ready."""

import time
from collections.abc import Callable
from typing import Any

from leviathan_engine.wire import PromptProgress, ServedModel

# Below this share of the model, the rate so far is not reliable.
LEAST_SHARE = 0.02


class Status:
    """The state that /health, /ready and /metrics show. Times in seconds of `clock`, sizes in bytes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._reading_since: float | None = None
        self._loading_since: float | None = None
        self._read_total = 0
        self._ready_after: float | None = None
        self.phase = "starting"
        self.detail = ""
        self.model: ServedModel | None = None
        self.layers = 0
        self.loaded = 0
        self.read = 0
        self.ready = False
        self.failed = ""
        self.stopping = False
        self.memory: dict[str, Any] = {}
        self.threads: dict[str, Any] = {}
        # By job; a prompt is removed when it is read, or when its job ends.
        self.prompts: dict[str, PromptProgress] = {}

    def enter(self, phase: str, detail: str = "") -> None:
        """Starts a new phase."""
        self.phase, self.detail = phase, detail

    def progress(self, layers: int, loaded: int, read: int = 0, read_total: int = 0) -> None:
        """Sets the number of `layers` and bytes that are `loaded`, and of bytes that are `read` ahead of the loader."""
        now = self._clock()
        if self._reading_since is None:
            self._reading_since = now
        if self._loading_since is None and loaded:
            self._loading_since = self._reading_since if not read_total else now
        self.layers, self.loaded, self.read, self._read_total = layers, loaded, read, read_total

    def answer(self) -> None:
        """Notes the model's first answer: it is ready, unless the front has failed meanwhile."""
        if self.failed:
            return
        self.ready = True
        self._ready_after = self._clock() - self._started
        self.enter("ready")
        if self.model is not None:
            self.progress(self.model.layers, self.model.total_bytes)

    def fail(self, reason: str) -> None:
        """Notes that the worker can no longer answer."""
        self.ready = False
        self.failed = self.failed or reason
        self.enter("failed", self.failed)

    def reading(self, prompt: PromptProgress) -> None:
        """Sets the progress of a prompt."""
        self.prompts[prompt.id] = prompt
        if prompt.done >= prompt.total:
            self.read_no_more(prompt.id)

    def read_no_more(self, job: str) -> None:
        """Removes the prompt of `job`, which is read or cancelled."""
        self.prompts.pop(job, None)

    @property
    def serving(self) -> bool:
        """Whether requests are accepted."""
        return self.ready and not self.stopping

    @property
    def share(self) -> float:
        """The share of the model's bytes that is loaded, 0 to 1."""
        total = self.model.total_bytes if self.model else 0
        return min(1.0, self.loaded / total) if total else 0.0

    def estimate(self) -> float | None:
        """Estimated seconds until the model is ready; None if not known.

        While files are read ahead, the disk's rate decides, because the loader finds in memory what was read;
        afterwards the loader's rate does.
        """
        if self.ready:
            return 0.0
        reading = self.read < self._read_total
        since, size = (self._reading_since, self.read) if reading else (self._loading_since, self.loaded)
        total = self.model.total_bytes if self.model else 0
        if since is None or not total or size < LEAST_SHARE * total:
            return self.model.start_seconds if self.model else None
        return (self._clock() - since) * max(0, total - size) / size

    def report(self) -> dict[str, Any]:
        """Returns the body of /health."""
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
            "bytes_read": self.read,
            "bytes": self.model.total_bytes if self.model else None,
            "percent": round(100 * self.share, 1),
            "seconds": round(self._ready_after or self._clock() - self._started, 1),
            "estimate_seconds": None if estimate is None else round(estimate, 1),
        }
