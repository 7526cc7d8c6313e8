"""Answers an internal request: token ids, limits, the turn in the queue, tokens, text, streamed or whole."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

from leviathan_engine.model.chat_prompt import Prompts
from leviathan_engine.wire import Chosen, Job

from ..access.record import Record
from ..api_error import ApiError
from ..engine import Engine, Tick
from ..fair_queue import FairQueue
from ..json_response import dumps, dumps_long
from ..metrics import Metrics
from ..served import Served
from ..timing import Timing
from ..tokenising import Tokenising
from .answer_text import AnswerText
from .best import best
from .demand import Demand
from .echo import Echo
from .events import Choice, Event, Finish, LogprobDelta, PromptRead, TokenLogprob, Usage, Working
from .grammars import Grammars
from .planned import Planned, clamped, ignored, plan
from .reply import Reply
from .request import GenerationRequest


@dataclass(frozen=True)
class Service:
    """What every generation needs."""

    engine: Engine
    queue: FairQueue
    metrics: Metrics
    prompts: Prompts
    served: Served
    tokenising: Tokenising = field(default_factory=Tokenising)
    grammars: Grammars = field(default_factory=Grammars)


class Generation:
    """Answers one request."""

    def __init__(
        self, service: Service, request: GenerationRequest, client: str, record: Record, *, small: bool = False
    ) -> None:
        """`client` is the key of its line in the queue; `record` is for the access log.

        The prompt of a `small` body is tokenised without a thread, which would take longer, if its template is known.
        """
        self._service, self._request, self._client = service, request, client
        self._timing = Timing(record, service.served.model.name)
        self._finish = ""
        self._scope = record.scope
        self._brief = small and service.prompts.brief
        record.stream = request.stream

    async def run(self, reply: Reply) -> None:
        """Answers the request. Errors: ApiError, before anything is sent.

        If the request waits longer than the heartbeat, the answer begins while it waits, because a proxy may close a
        silent connection. After that, errors are part of the answer.
        """
        service = self._service
        service.queue.check(self._client)  # before tokenising, because a full queue refuses the request anyway
        planned = await service.tokenising.run(self._client, self._plan, brief=self._brief)
        planned = await self._with_grammars(planned)
        notes = {"x-leviathan-ignored": ignored(self._request, service.prompts, planned)}
        notes["x-leviathan-clamped"] = clamped(self._request, planned)
        reply.headers |= {name: text for name, text in notes.items() if text}
        try:
            await service.queue.acquire(self._client, lambda: reply.beat("waiting"), service.engine.heartbeat)
        except ApiError as err:
            await reply.fail(err)
            return
        self._timing.turn(sum(len(one.job.ids) for one in planned[:: self._request.drawn]))
        try:
            events = self._events(planned)
            await (self._stream(events, reply) if reply.stream else self._whole(events, len(planned), reply))
        except ApiError as err:
            await reply.fail(err)
        finally:
            service.queue.release()
            self._timing.end(service.metrics, self._finish)

    def _plan(self) -> list[Planned]:
        """Returns the choices and their jobs. Errors: ApiError 400."""
        return plan(self._request, self._service.prompts, self._service.served.model, self._scope)

    async def _with_grammars(self, planned: list[Planned]) -> list[Planned]:
        """Returns the choices with the grammars of their answers. Errors: ApiError 4xx, 503."""
        return [one.following(await self._grammar(one.demand)) if one.demand else one for one in planned]

    async def _grammar(self, demand: Demand) -> str:
        """Returns the grammar of an answer. Errors: ApiError 4xx, 503."""
        folder = Path(self._service.served.model.folder)
        return await self._service.grammars.grammar(self._client, folder, demand)

    async def _events(self, planned: list[Planned]) -> AsyncGenerator[Event, None]:
        """Yields the answer's events, one choice after the other."""
        prompts = self._service.prompts
        echo = Echo(prompts, self._request, planned[0])
        for index, one in enumerate(planned):
            if index and index % self._request.drawn == 0:
                echo = Echo(prompts, self._request, one)
            for known in echo.begin(index):
                yield known
            text = AnswerText(index, prompts.text, self._request, one.prompt, one.talk)
            choice = self._choice(one.job, text, echo)
            try:
                async for event in choice:
                    yield event
            finally:
                await choice.aclose()

    async def _choice(self, job: Job, text: AnswerText, echo: Echo) -> AsyncGenerator[Event, None]:
        """Yields the events of one choice; the last one is its `Finish`."""
        reason, read = "", False
        idle = not job.max_tokens and "prompt_logprobs" not in job.sampling
        ticks = _nothing() if idle else self._service.engine.generate(job)
        try:
            async for tick in ticks:
                if tick.done:
                    reason = tick.done
                    break
                if (heard := tick.progress) is not None:
                    if not read:
                        self._timing.reuse(self._timing.cached + heard.cached)
                    read = True
                    yield PromptRead(text.index, heard.total, heard.cached, heard.done, self._timing.since_turn())
                    continue
                if tick.named is not None:
                    yield echo.more(text.index, tick.named)
                    await asyncio.sleep(0)  # as in Engine: they arrive together
                    continue
                if tick.token is None:
                    yield Working()
                    continue
                if tick.chosen is not None:
                    yield LogprobDelta(text.index, logprob_of(self._service.prompts, tick.chosen))
                    if tick.chosen.ends:
                        continue
                self._timing.token(self._service.metrics)
                for event in text.push(tick.token):
                    yield event
                if text.stopped:
                    break
            for event in text.finish():
                yield event
            self._finish = text.reason(reason)
            yield Finish(text.index, self._finish, self._timing.timings(), text.stop)
        finally:
            await ticks.aclose()

    async def _whole(self, events: AsyncGenerator[Event, None], count: int, reply: Reply) -> None:
        choices = [Choice(index) for index in range(count)]
        try:
            async for event in events:
                if isinstance(event, Working):
                    await reply.beat("working")
                elif not isinstance(event, PromptRead):
                    choices[event.index].add(event)
        finally:
            await events.aclose()
        said, usage = best(self._request, choices), self._usage()
        if self._request.named_prompt is None:
            await reply.whole(dumps(reply.writer.whole(said, usage)))
        else:  # this may take 100 ms
            await reply.whole(await asyncio.to_thread(lambda: dumps_long(reply.writer.whole(said, usage))))

    async def _stream(self, events: AsyncGenerator[Event, None], reply: Reply) -> None:
        await reply.text(reply.writer.begin())
        try:
            async for event in events:
                if isinstance(event, Working):
                    await reply.beat("working")
                elif not isinstance(event, PromptRead):
                    await reply.text(reply.writer.write(event))
                elif self._request.progress:
                    await reply.text(reply.writer.progress(event))
        finally:
            await events.aclose()
        await reply.done(reply.writer.end(self._usage()))

    def _usage(self) -> Usage:
        timing = self._timing
        return Usage(timing.prompt, timing.tokens, timing.cached, timing.timings())


async def _nothing() -> AsyncGenerator[Tick, None]:
    """Yields the end of an answer without tokens."""
    yield Tick(done="length")


def logprob_of(prompts: Prompts, chosen: Chosen) -> TokenLogprob:
    """Returns a token's log probability, with the texts of the token and of the most likely ones."""

    def one(token: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        return TokenLogprob(prompts.whole_text([token]), prompts.token_bytes(token), logprob, top)

    return one(chosen.token, chosen.logprob, tuple(one(*pair) for pair in chosen.top))
