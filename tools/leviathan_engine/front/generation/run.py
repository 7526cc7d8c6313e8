"""From an internal request to its answer: ids, limits, the turn in the queue, tokens, text, stream or whole."""

import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from leviathan_engine.model.chat_prompt import PromptError, Prompts
from leviathan_engine.model.talk import RenderedTalk
from leviathan_engine.wire import Job

from ..access.record import Record
from ..api_error import ApiError, bad
from ..engine import Engine
from ..fair_queue import FairQueue
from ..metrics import Metrics
from ..served import Served
from ..timing import Timing
from ..tokenising import Tokenising
from .answer_text import AnswerText
from .events import Choice, Event, Finish, PromptRead, TextDelta, Usage, Working
from .reply import Reply
from .request import ChatPrompt, GenerationRequest, Prompt, TextPrompt


@dataclass(frozen=True)
class Service:
    """What every generation needs."""

    engine: Engine
    queue: FairQueue
    metrics: Metrics
    prompts: Prompts
    served: Served
    tokenising: Tokenising = field(default_factory=Tokenising)


class Generation:
    """One request on its way to its answer."""

    def __init__(self, service: Service, request: GenerationRequest, client: str, record: Record) -> None:
        """`client` is whose line in the queue it waits in; `record` is for the access log."""
        self._service, self._request, self._client = service, request, client
        self._timing = Timing(record, service.served.model.name)
        self._finish = ""
        self._scope = record.scope
        record.stream = request.stream

    async def run(self, reply: Reply) -> None:
        """Answers. Errors: ApiError, before anything was sent.

        An answer that waits longer than the engine's heartbeat begins while it waits: a proxy would take the silence
        for the end. From then on an error is part of the answer.
        """
        service = self._service
        service.queue.check(self._client)  # who is to be refused for it need not be tokenised first
        talks, jobs = [], []
        for ids, talk in await service.tokenising.run(self._client, self._ids):
            talks.append(talk)
            jobs.append(self._job(ids))
        reply.headers |= self._notes(jobs, talks)
        try:
            await service.queue.acquire(self._client, lambda: reply.beat("waiting"), service.engine.heartbeat)
        except ApiError as err:
            await reply.fail(err)
            return
        self._timing.turn(sum(len(job.ids) for job in jobs))
        try:
            events = self._events(list(zip(jobs, talks, strict=True)))
            await (self._stream(events, reply) if reply.stream else self._whole(events, len(jobs), reply))
        except ApiError as err:
            await reply.fail(err)
        finally:
            service.queue.release()
            self._timing.end(service.metrics, self._finish)

    def _ids(self) -> list[tuple[list[int], RenderedTalk | None]]:
        """The token ids of each prompt, and how a chat's came about. Errors: ApiError 400."""
        most = self._service.served.model.longest_prompt
        return [prepare(self._service.prompts, prompt, most) for prompt in self._request.prompts]

    def _job(self, ids: list[int]) -> Job:
        """The job of a prompt. A number of tokens above the room becomes the room."""
        model, defaults, sampling = self._service.served.model, self._service.prompts, self._request.sampling
        if not ids:
            raise bad("the prompt has no tokens", self._request.where)
        room = min(model.cache_lens - len(ids), model.max_new_tokens)
        asked = self._request.ending.max_tokens
        return Job(
            id=uuid.uuid4().hex,
            ids=tuple(ids),
            max_tokens=room if asked is None else min(asked, room),
            temperature=defaults.temperature if sampling.temperature is None else sampling.temperature,
            top_p=defaults.top_p if sampling.top_p is None else sampling.top_p,
            seed=sampling.seed,
            eos=defaults.eos,
            scope=self._scope,
        )

    def _notes(self, jobs: list[Job], talks: list[RenderedTalk | None]) -> dict[str, str]:
        """Headers that say what was done otherwise than asked."""
        request, notes = self._request, dict[str, str]()
        missing = [name for talk in talks if talk for name in talk.missing]
        if ignored := [*request.ignored, *missing]:
            notes["x-leviathan-ignored"] = ascii(", ".join(ignored))[1:-1][:1000]
        asked, least = request.ending.max_tokens, min(job.max_tokens for job in jobs)
        if asked is not None and asked > least:
            notes["x-leviathan-clamped"] = f"max_tokens {asked} to {least}"
        return notes

    async def _events(self, jobs: list[tuple[Job, RenderedTalk | None]]) -> AsyncGenerator[Event, None]:
        """The answer's events, one choice after the other."""
        for index, (job, talk) in enumerate(jobs):
            if echo := self._echo(index, job):
                yield TextDelta(index, echo)
            text = AnswerText(index, self._service.prompts.text, self._request, talk)
            choice = self._choice(job, text)
            try:
                async for event in choice:
                    yield event
            finally:
                await choice.aclose()

    async def _choice(self, job: Job, text: AnswerText) -> AsyncGenerator[Event, None]:
        """The events of one choice; the last is its `Finish`."""
        reason, read = "", False
        ticks = self._service.engine.generate(job)
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
                if tick.token is None:
                    yield Working()
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
        await reply.whole(reply.writer.whole(choices, self._usage()))

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

    def _echo(self, index: int, job: Job) -> str:
        prompt = self._request.prompts[index]
        if isinstance(prompt, ChatPrompt) or not self._request.echo:
            return ""
        return prompt.text if isinstance(prompt, TextPrompt) else self._service.prompts.text(job.ids)

    def _usage(self) -> Usage:
        timing = self._timing
        return Usage(timing.prompt, timing.tokens, timing.cached, timing.timings())


def prepare(prompts: Prompts, prompt: Prompt, most: int) -> tuple[list[int], RenderedTalk | None]:
    """The tokens of a prompt, which may be `most`, and how the prompt of a chat came about. Errors: ApiError 400."""
    try:
        if isinstance(prompt, ChatPrompt):
            return prompts.chat(prompt, most)
        return prompts.text_ids(prompt.text if isinstance(prompt, TextPrompt) else prompt.ids, most), None
    except PromptError as err:
        raise bad(err.message, err.param, err.code) from err
