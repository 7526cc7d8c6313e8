"""From a checked request to its answer: ids, limits, the turn in the queue, tokens, text, stream or whole."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from leviathan_engine.front.api_error import ApiError, bad, too_long
from leviathan_engine.front.fair_queue import FairQueue
from leviathan_engine.model.chat_prompt import Prompts
from leviathan_engine.wire import Job, ServedModel

from .access.record import Record
from .answers import Answer, Usage
from .engine import Engine
from .metrics import Metrics
from .reply import Reply
from .request import Chat, Completion
from .text import TextStream
from .timing import Timing


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

    def __init__(self, service: Service, request: Chat | Completion, client: str, record: Record) -> None:
        """`client` is whose line in the queue it waits in; `record` is for the access log."""
        self._service = service
        self._request = request
        self._client = client
        self._answer = Answer(service.model.name, isinstance(request, Chat))
        self._text = TextStream(service.prompts.text, request.sampling.stop)
        self._timing = Timing(record, service.model.name)
        self._finish = ""
        record.stream = request.sampling.stream

    async def run(self, reply: Reply) -> None:
        """Answers. Errors: ApiError, before anything was sent.

        An answer that waits longer than the engine's heartbeat begins while it waits: a proxy would take the silence
        for the end. From then on an error is part of the answer.
        """
        self._service.queue.check(self._client)  # who is to be refused for it need not be tokenised first
        ids = await asyncio.to_thread(self._ids)
        job = self._job(ids)
        try:
            await self._service.queue.acquire(
                self._client, lambda: reply.beat("waiting"), self._service.engine.heartbeat
            )
        except ApiError as err:
            await reply.fail(err)
            return
        self._timing.turn(len(ids))
        try:
            await (self._stream(job, reply) if reply.stream else self._whole(job, reply))
        except ApiError as err:
            await reply.fail(err)
        finally:
            self._service.queue.release()
            self._timing.end(self._service.metrics, self._finish)

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
        ticks = self._service.engine.generate(job)
        try:
            async for tick in ticks:
                if tick.done:
                    self._finish = tick.done
                    break
                if tick.token is None:
                    yield ""
                    continue
                self._timing.token(self._service.metrics)
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

    async def _whole(self, job: Job, reply: Reply) -> None:
        pieces = [self._echo(job)]
        async for piece in self._pieces(job):
            if piece:
                pieces.append(piece)
            else:
                await reply.beat("working")
        body = self._answer.whole("".join(pieces), self._finish, self._usage(job))
        await reply.whole(body | {"timings": self._timing.timings()})

    async def _stream(self, job: Job, reply: Reply) -> None:
        await reply.begin()
        usage = self._request.sampling.include_usage

        async def event(body: dict[str, Any]) -> None:
            await reply.event({"usage": None} | body if usage else body)

        if first := self._answer.first():
            await event(first)
        if echo := self._echo(job):
            await event(self._answer.piece(echo))
        async for piece in self._pieces(job):
            if piece:
                await event(self._answer.piece(piece))
            else:
                await reply.beat("working")
        timings = {"timings": self._timing.timings()}
        await event(self._answer.last(self._finish) | timings)
        if usage:
            await event(self._answer.usage(self._usage(job)) | timings)
        await reply.done()

    def _echo(self, job: Job) -> str:
        request = self._request
        if isinstance(request, Chat) or not request.echo:
            return ""
        return request.prompt if isinstance(request.prompt, str) else self._service.prompts.text(job.ids)

    def _usage(self, job: Job) -> Usage:
        return Usage(len(job.ids), self._timing.tokens)
