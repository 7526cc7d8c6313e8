"""The worker's side of the socket: runs jobs one after the other, sends their tokens, stops cancelled jobs."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, Protocol

from leviathan_engine import wire
from leviathan_engine.wire import Chosen, Job, Link, PromptLogprobs, PromptProgress
from leviathan_engine.worker.malloc_trim import Heap


class Unanswerable(Exception):
    """A job that cannot be answered; later jobs are not affected."""


class OutOfMemory(Unanswerable):
    """A job that does not fit into memory."""


class Cancelled(Exception):
    """A job that was cancelled while its prompt was read."""


Heard = Callable[[PromptProgress | PromptLogprobs], None]


class Model(Protocol):
    """The model that a session runs."""

    def tokens(self, job: Job, cancelled: Callable[[], bool], progress: Heard) -> Generator[int | Chosen]:
        """Yields the answer's tokens, without the one that ends it unless the job asks for its log probability.

        The caller must close the generator. While the model reads a prompt, it calls `cancelled`, and `progress` with
        the tokens that are read, first with those from the prefix cache, and with their log probabilities if the job
        asks for them. Errors: Cancelled, Unanswerable; any other error ends the worker.
        """

    def memory(self) -> list[dict[str, Any]]:
        """Returns for each GPU its number, the bytes in use and the total bytes, as `gpu`, `used`, `total`."""

    def rest(self) -> bool:
        """Does a short piece of background work while there is no job; returns whether there is more to do."""

    def gauges(self) -> dict[str, float]:
        """Returns current values of the metrics that front/memory.py defines."""


class Session:
    """Serves one connection until the front closes it."""

    def __init__(self, link: Link, model: Model, pid: int) -> None:
        """`pid` is the worker's process id, whose memory use the front reports."""
        self._link = link
        self._model = model
        self._pid = pid
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._known: set[str] = set()
        self._cancelled: set[str] = set()

    def run(self) -> None:
        """Sends `ready`, then serves jobs. Errors: what the model raises, and OSError."""
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

        def progress(event: PromptProgress | PromptLogprobs) -> None:
            self._link.send(wire.prompt_message(event))

        with contextlib.closing(self._model.tokens(job, cancelled, progress)) as tokens:
            for count, token in enumerate(tokens, 1):
                if cancelled():
                    return "cancelled"
                self._link.send(wire.token_message(job.id, token))
                if count >= job.max_tokens and not (isinstance(token, Chosen) and token.ends):
                    return "length"
        return "stop" if job.max_tokens else "length"
