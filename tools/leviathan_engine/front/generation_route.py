"""The endpoint of a door that generates: from a request's first byte to its answer's last."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from leviathan_engine.front.api_error import ApiError
from leviathan_engine.front.fair_queue import stopping

from .access.api_keys import ApiKey
from .access.record import record_of
from .asgi import ClientGone, or_gone, parse_json, read_body
from .client_key import queue_key
from .generation.door import AnswerWriter, Door
from .generation.reply import Reply
from .generation.request import GenerationRequest
from .generation.run import Generation
from .host import BEFORE_ANSWER, Host
from .outbox import Outbox
from .served import Served

# Bytes of a body from which on the way to a thread is worth it: some 100 microseconds, as checking these takes.
LARGE = 16 << 10
# Below this tokenising takes less than some 300 microseconds.
SMALL = 1 << 10


class GenerationRoute:
    """The endpoint of one door, as an ASGI application: it must see when the client goes away."""

    def __init__(self, front: Host, door: Door) -> None:
        self._front = front
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        front = self._front
        status = BEFORE_ANSWER

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            async with Outbox(counted, front.unsent) as out:
                await self._answer(scope, receive, out)
                await out.finish()
        except ClientGone:
            front.metrics.cancelled.inc()
        finally:
            front.metrics.requests.labels(scope["path"], str(status)).inc()

    async def _answer(self, scope: Scope, receive: Receive, out: Outbox) -> None:
        """Answers by `out`, with what was asked for or with an error. Errors: ClientGone."""
        front, error, record = self._front, self._door.error, record_of(scope)
        key: ApiKey | None = None
        reply: Reply | None = None
        try:
            key = front.authorize(scope)
            with front.generation(), front.keys.admitted(key):
                raw = await read_body(receive, front.body_limit(), front.bodies)
                service = await front.service()
                request, writer, client = await self._read(raw, service.served, scope)
                reply = Reply(out.send, writer, stream=request.stream)
                generation = Generation(service, request, client, record, small=len(raw) < SMALL)
                await or_gone(receive, out.after(generation.run(reply)), out)
        except ApiError as err:
            await error(err)(scope, receive, out.send)
        except asyncio.CancelledError:
            if not front.status.stopping:
                raise
            if reply is not None and reply.begun:
                await reply.fail(stopping())
            else:
                await error(stopping())(scope, receive, out.send)
        finally:
            front.keys.spend(key, (record.prompt_tokens or 0) + (record.generated_tokens or 0))

    async def _read(self, raw: bytes, served: Served, scope: Scope) -> tuple[GenerationRequest, AnswerWriter, str]:
        """The request, its writer, and whose line it waits in; a large one in a thread. Errors: ApiError 4xx."""

        def read() -> tuple[GenerationRequest, AnswerWriter, str]:
            body = parse_json(raw)
            request, writer = self._door.read(body, served)
            return request, writer, queue_key(scope, body)

        return read() if len(raw) < LARGE else await asyncio.to_thread(read)
