"""The engine's side of the socket: takes jobs one after another, sends their tokens, stops what is cancelled."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, Protocol

from leviathan_engine import wire
from leviathan_engine.wire import Chosen, Job, Link, PromptProgress
from leviathan_engine.worker.malloc_trim import Heap


class Unanswerable(Exception):
    """A generation that cannot be done; the next one may."""


class OutOfMemory(Unanswerable):
    """A generation that did not fit."""


class Cancelled(Exception):
    """A generation that was told to stop while it read its prompt."""


Heard = Callable[[PromptProgress], None]


class Model(Protocol):
    """What generates."""

    def tokens(self, job: Job, cancelled: Callable[[], bool], progress: Heard) -> Generator[int | Chosen]:
        """The answer's tokens, without the one that ends it. It must be closed.

        A model that reads its prompt for long asks `cancelled` meanwhile; `progress` hears how far it is, first of all
        how much it knew. Errors: Cancelled, Unanswerable; any other ends the engine.
        """

    def memory(self) -> list[dict[str, Any]]:
        """For each GPU its number, and the bytes in use and in all, as `gpu`, `used`, `total`."""

    def rest(self) -> bool:
        """Uses a short moment in which no job is there; whether it could use another one."""

    def gauges(self) -> dict[str, float]:
        """Further figures of this moment, by the names that front/memory.py knows."""


class Session:
    """Serves one connection until the front closes it."""

    def __init__(self, link: Link, model: Model, pid: int) -> None:
        """`pid` is the engine's process, whose RAM the front shows."""
        self._link = link
        self._model = model
        self._pid = pid
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._known: set[str] = set()
        self._cancelled: set[str] = set()

    def run(self) -> None:
        """Says that it is ready, and works. Errors: what the model raises, and OSError."""
        threading.Thread(target=self._read, daemon=True).start()
        self._tell_memory()
        self._link.send({"kind": "ready"})
        heap = Heap()
        while (job := self._next()) is not None:
            self._serve(job)
            self._known.discard(job.id)
            self._cancelled.discard(job.id)
            heap.rest()
            self._tell_memory()

    def _next(self) -> Job | None:
        while self._jobs.empty() and self._model.rest():
            pass
        return self._jobs.get()

    def _tell_memory(self) -> None:
        gauges = self._model.gauges()
        self._link.send({"kind": "memory", "vram": self._model.memory(), "gauges": gauges, "pid": self._pid})

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for message in self._link.messages():
                if message["kind"] == "generate":
                    job = wire.job(message)
                    self._known.add(job.id)
                    self._jobs.put(job)
                elif message["kind"] == "cancel" and message["id"] in self._known:
                    self._cancelled.add(message["id"])
        self._jobs.put(None)

    def _serve(self, job: Job) -> None:
        done = {"kind": "done", "id": job.id}
        try:
            self._link.send(done | {"reason": self._generate(job)})
        except Cancelled:
            self._link.send(done | {"reason": "cancelled"})
        except Unanswerable as err:
            self._link.send(done | {"reason": "error", "message": str(err)})
        except OSError:
            raise
        except Exception as err:
            self._link.send(done | {"reason": "error", "message": f"{type(err).__name__}: {err}"})
            raise

    def _generate(self, job: Job) -> str:
        def cancelled() -> bool:
            return job.id in self._cancelled

        if cancelled():
            return "cancelled"

        def progress(state: PromptProgress) -> None:
            self._link.send(wire.progress_message(state))

        with contextlib.closing(self._model.tokens(job, cancelled, progress)) as tokens:
            for count, token in enumerate(tokens, 1):
                if cancelled():
                    return "cancelled"
                self._link.send(wire.token_message(job.id, token))
                if count >= job.max_tokens:
                    return "length"
        return "stop"
