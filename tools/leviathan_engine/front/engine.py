"""The front's side of the socket to the worker: receives the load's progress, sends jobs, receives tokens."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine import wire
from leviathan_engine.front.api_error import ApiError, unavailable

from .status import Status

Events = asyncio.Queue[wire.Message]
BEAT: wire.Message = {"kind": "beat"}


@dataclass(frozen=True)
class Tick:
    """An event of a generation: a token, something of the prompt, or the reason of the end; empty for a heartbeat.

    `chosen` has the token's log probability if the job asks for it, `named` those of tokens of the prompt.
    """

    token: int | None = None
    done: str = ""
    progress: wire.PromptProgress | None = None
    chosen: wire.Chosen | None = None
    named: wire.PromptLogprobs | None = None


class Beat:
    """Puts BEAT into `events` if no other event arrives for `seconds`; one timer per job instead of one per token."""

    def __init__(self, seconds: float, events: Events) -> None:
        """Starts the timer."""
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._events = events
        self._last = self._loop.time()
        self._timer = self._loop.call_at(self._last + seconds, self._look)

    def came(self) -> None:
        """Notes that an event has arrived."""
        self._last = self._loop.time()

    def end(self) -> None:
        """Stops the timer."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        if self._events.empty() and now - self._last >= self._seconds:
            self._events.put_nowait(BEAT)
            self._last = now
        self._timer = self._loop.call_at(self._last + self._seconds, self._look)


class Engine:
    """The worker, as the front sees it. The queue makes sure that only one `generate` runs at a time."""

    def __init__(self, status: Status, on_model: Callable[[wire.ServedModel], None], heartbeat: float = 15.0) -> None:
        """`on_model` is called with the model; after `heartbeat` seconds without a token, `generate` yields a Tick."""
        self._status = status
        self._on_model = on_model
        self.heartbeat = heartbeat
        self._writer: asyncio.StreamWriter | None = None
        self._running: dict[str, Events] = {}
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def listen(self, path: Path) -> None:
        """Opens the socket at `path`. Errors: OSError."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path, limit=wire.LINE_LIMIT)
        path.chmod(0o660)  # the worker may be another user of the same group

    async def close(self) -> None:
        """Closes the socket and every connection."""
        if self._server is not None:
            self._server.close()
        for writer in self._connections:
            writer.close()
        # The end of the loop would cancel them, which Python 3.11 reports with a traceback.
        if tasks := [task for task in self._connections.values() if task is not None]:
            await asyncio.wait(tasks, timeout=1)

    async def generate(self, job: wire.Job) -> AsyncGenerator[Tick, None]:
        """Yields what is known of the prompt, then the tokens of a job, then the reason of the end: "stop" or "length".

        Closing the generator before its end cancels the job. Errors: ApiError 5xx if the worker fails.
        """
        writer = self._writer
        if writer is None:
            raise unavailable("the engine process has ended")
        events: Events = asyncio.Queue()
        self._running[job.id] = events
        beat = Beat(self.heartbeat, events)
        ended = False
        try:
            writer.write(wire.encode(wire.generate_message(job)))
            while not ended:
                event = await events.get()
                beat.came()
                if event is BEAT:
                    yield Tick()
                    continue
                if event["kind"] == "token":
                    token = wire.token_of(event)
                    yield Tick(token.token, chosen=token) if isinstance(token, wire.Chosen) else Tick(token)
                    continue
                if event["kind"] == "prompt_progress":
                    progress = wire.prompt_progress(event)
                    self._status.reading(progress)
                    yield Tick(progress=progress)
                    continue
                if event["kind"] == "prompt_logprobs":
                    yield Tick(named=wire.prompt_logprobs(event))
                    continue
                ended = True
                if event["reason"] not in ("stop", "length"):
                    raise _failure(event)
                yield Tick(done=event["reason"])
        finally:
            beat.end()
            del self._running[job.id]
            self._status.read_no_more(job.id)
            if not ended and not writer.is_closing():
                writer.write(wire.encode({"kind": "cancel", "id": job.id}))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.current_task()
        try:
            while line := await reader.readline():
                message = wire.decode(line)
                self._hear(message, writer)
                if message["kind"] == "prompt_logprobs":
                    await asyncio.sleep(0)  # they arrive together, and other requests must not wait for all of them
        except (ValueError, KeyError, TypeError, OSError) as err:
            self._status.enter(self._status.phase, f"the engine sent an invalid message: {err}")
        finally:
            del self._connections[writer]
            if self._writer is writer:
                self._gone()
            with contextlib.suppress(OSError):
                writer.close()

    def _hear(self, message: wire.Message, writer: asyncio.StreamWriter) -> None:
        status = self._status
        match message["kind"]:
            case "phase":
                status.enter(message["phase"], message.get("detail", ""))
            case "model":
                status.model = wire.served_model(message)
                self._on_model(status.model)
            case "progress":
                read = message.get("read", 0), message.get("read_total", 0)
                status.progress(message["layers"], message["bytes"], *read)
            case "threads":
                status.threads = message
            case "memory":
                status.memory = message
            case "ready":
                self._writer = writer
                status.answer()
            case "failed":
                status.fail(message["reason"])
            case "token" | "done" | "prompt_progress" | "prompt_logprobs":
                if message["id"] in self._running:
                    self._running[message["id"]].put_nowait(message)

    def _gone(self) -> None:
        self._writer = None
        if not self._status.stopping:
            self._status.fail("the engine process has ended")
        for events in self._running.values():
            events.put_nowait({"kind": "done", "reason": "gone"})


def _failure(event: wire.Message) -> ApiError:
    if event["reason"] == "gone":
        return unavailable("the engine process has ended")
    return ApiError(
        500,
        f"the engine failed to answer: {event.get('message', event['reason'])}",
        kind="server_error",
        code="engine_error",
    )
