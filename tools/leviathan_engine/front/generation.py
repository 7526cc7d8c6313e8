"""From a checked request to its answer: ids, limits, the turn in the queue, tokens, text, stream or whole."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from leviathan_engine.front.api_error import ApiError, bad, too_long
from leviathan_engine.front.fair_queue import FairQueue
from leviathan_engine.front.json_response import dumps, json_response
from leviathan_engine.model.chat_prompt import Prompts
from leviathan_engine.wire import Job, ServedModel

from .answers import Answer, Usage
from .engine import Engine
from .metrics import Metrics
from .request import Chat, Completion
from .text import TextStream

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True)
class Service:
    """What every generation needs."""

    engine: Engine
    queue: FairQueue
    metrics: Metrics
    prompts: Prompts
    model: ServedModel


class Generation:
    """One request on its way."""

    def __init__(self, service: Service, request: Chat | Completion, client: str) -> None:
        """`client` is whose line in the queue it waits in."""
        self._service = service
        self._request = request
        self._client = client
        self._answer = Answer(service.model.name, isinstance(request, Chat))
        self._text = TextStream(service.prompts.text, request.sampling.stop)
        self._tokens = 0
        self._finish = ""
        self._begun = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers. Errors: ApiError, before anything was sent.

        A stream that waits for its turn longer than the engine's heartbeat begins while it waits: a proxy would take
        the silence for the end. From then on an error is an event of the stream.
        """
        self._service.queue.check(self._client)  # who is to be refused for it need not be tokenised first
        ids = await asyncio.to_thread(self._ids)
        job = self._job(ids)
        came = time.monotonic()
        try:
            await self._turn(send)
        except ApiError as err:
            if not self._begun:
                raise
            await break_off(send, err)
            return
        self._service.metrics.waited.observe(time.monotonic() - came)
        try:
            if self._request.sampling.stream:
                await self._stream(job, send)
            else:
                pieces = [piece async for piece in self._pieces(job)]
                body = self._answer.whole(self._echo(job) + "".join(pieces), self._finish, self._usage(job))
                await json_response(body)(scope, receive, send)
        finally:
            self._service.queue.release()
            self._service.metrics.prompt_tokens.add(len(ids))
            self._service.metrics.tokens.add(self._tokens)

    async def _turn(self, send: Send) -> None:
        """Waits for the turn; a stream says so meanwhile."""

        async def waits() -> None:
            await self._begin(send)
            await _write(send, ": waiting\n\n")

        beat = waits if self._request.sampling.stream else None
        await self._service.queue.acquire(self._client, beat, self._service.engine.heartbeat)

    async def _begin(self, send: Send) -> None:
        """The head of a stream, once."""
        if not self._begun:
            self._begun = True
            await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})

    def _ids(self) -> list[int]:
        request, most = self._request, self._service.model.longest_prompt
        if isinstance(request, Chat):
            return self._service.prompts.chat_ids(request.messages, most)
        return self._service.prompts.text_ids(request.prompt, most)

    def _job(self, ids: list[int]) -> Job:
        model, prompts, sampling = self._service.model, self._service.prompts, self._request.sampling
        where = "messages" if self._answer.chat else "prompt"
        if not ids:
            raise bad("the prompt has no tokens", where)
        room = model.cache_lens - len(ids)
        wanted = sampling.max_tokens
        if wanted is not None and wanted > room:
            raise too_long(
                f"the prompt's {len(ids)} tokens and max_tokens {wanted} are more than the {model.cache_lens} tokens"
                " of this server's context",
                where,
            )
        return Job(
            id=self._answer.id,
            ids=tuple(ids),
            max_tokens=min(room, model.max_new_tokens) if wanted is None else wanted,
            temperature=prompts.temperature if sampling.temperature is None else sampling.temperature,
            top_p=prompts.top_p if sampling.top_p is None else sampling.top_p,
            seed=sampling.seed,
            eos=prompts.eos,
        )

    async def _pieces(self, job: Job) -> AsyncGenerator[str, None]:
        """The text, piece by piece; "" when nothing has come for a while. Sets the reason of the end."""
        metrics = self._service.metrics
        begin = time.monotonic()
        first = begin
        ticks = self._service.engine.generate(job)
        try:
            async for tick in ticks:
                if tick.done:
                    self._finish = tick.done
                    break
                if tick.token is None:
                    yield ""
                    continue
                self._tokens += 1
                if self._tokens == 1:
                    first = time.monotonic()
                    metrics.first.observe(first - begin)
                if piece := self._text.push(tick.token):
                    yield piece
                if self._text.stopped:
                    self._finish = "stop"
                    break
            if rest := self._text.finish():
                yield rest
            if self._text.stopped:
                self._finish = "stop"
        finally:
            await ticks.aclose()
            seconds = time.monotonic() - first
            if self._tokens > 1 and seconds > 0:
                metrics.rate.set((self._tokens - 1) / seconds)

    async def _stream(self, job: Job, send: Send) -> None:
        await self._begin(send)
        usage = self._request.sampling.include_usage

        async def event(body: dict[str, Any]) -> None:
            if usage:
                body = {"usage": None} | body
            await _write(send, f"data: {dumps(body)}\n\n")

        try:
            if first := self._answer.first():
                await event(first)
            if echo := self._echo(job):
                await event(self._answer.piece(echo))
            async for piece in self._pieces(job):
                if piece:
                    await event(self._answer.piece(piece))
                else:
                    await _write(send, ": working\n\n")
            await event(self._answer.last(self._finish))
            if usage:
                await event(self._answer.usage(self._usage(job)))
            await _write(send, "data: [DONE]\n\n")
        except ApiError as err:
            await break_off(send, err)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _echo(self, job: Job) -> str:
        request = self._request
        if isinstance(request, Chat) or not request.echo:
            return ""
        return request.prompt if isinstance(request.prompt, str) else self._service.prompts.text(job.ids)

    def _usage(self, job: Job) -> Usage:
        return Usage(len(job.ids), self._tokens)


async def break_off(send: Send, err: ApiError) -> None:
    """Ends a stream that has begun with an error in place of [DONE]."""
    await _write(send, f"data: {dumps(err.body())}\n\n")
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode("ascii"), "more_body": True})
