"""The endpoint of an adapter that generates answers."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from leviathan_engine.front.api_error import ApiError
from leviathan_engine.front.fair_queue import stopping

from .access.api_keys import ApiKey
from .access.record import record_of
from .asgi import ClientGone, or_gone, parse_json, read_body
from .client_key import queue_key
from .generation.adapter import Adapter, AnswerWriter
from .generation.reply import Reply
from .generation.request import GenerationRequest
from .generation.run import Generation
from .host import BEFORE_ANSWER, Host
from .outbox import Outbox
from .served import Served

# Bodies of at least this many bytes are checked in a thread; switching to it takes as long as checking these bytes.
LARGE = 16 << 10
# Bodies below this many bytes are tokenised in less than about 300 microseconds.
SMALL = 1 << 10


class GenerationRoute:
    """The endpoint of one adapter, as an ASGI application, because it must notice when the client disconnects."""

    def __init__(self, front: Host, adapter: Adapter) -> None:
        self._front = front
        self._adapter = adapter

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
        """Sends the answer or an error through `out`. Errors: ClientGone."""
        front, error, record = self._front, self._adapter.error, record_of(scope)
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
        """Returns the request, its writer and its key in the queue. Uses a thread for large ones. Errors: ApiError."""

        def read() -> tuple[GenerationRequest, AnswerWriter, str]:
            body = parse_json(raw)
            request, writer = self._adapter.read(body, served)
            return request, writer, queue_key(scope, body)

        return read() if len(raw) < LARGE else await asyncio.to_thread(read)
