"""The routes: /health, /ready, /metrics for the cluster, /v1/... for OpenAI's clients."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leviathan_engine.errors import EngineError
from leviathan_engine.front.api_error import ApiError, unavailable
from leviathan_engine.front.fair_queue import FairQueue, stopping
from leviathan_engine.front.json_response import json_response
from leviathan_engine.model.chat_prompt import Prompts, load
from leviathan_engine.wire import ServedModel

from . import openapi
from .access.access_log import AccessLog
from .access.api_keys import ApiKey
from .access.edge import Edge, write_stderr
from .access.key_ring import KeyRing
from .access.record import record_of
from .access.settings import Access, read_keys
from .admission import Admission
from .asgi import ClientGone, or_gone, parse_json, read_body
from .bodies import Bodies
from .body import BodyLimit, body_limit
from .client_key import queue_key
from .engine import Engine
from .generation.door import AnswerWriter, Door
from .generation.reply import Reply
from .generation.request import GenerationRequest
from .generation.run import Generation, Service
from .limits import Limits
from .memory import gauges
from .metrics import Metrics
from .openai.doors import CHAT_COMPLETIONS, COMPLETIONS
from .openai.models import model_entry, model_list
from .outbox import Outbox, Unsent
from .page import assemble
from .served import Served
from .status import Status
from .tokenising import Tokenising

# nginx's number for a client that left, and so what is counted as long as no answer has begun.
BEFORE_ANSWER = 499
# Bytes of a body from which on the way to a thread is worth it: some 100 microseconds, as checking these takes.
LARGE = 16 << 10


class Front:
    """The state behind the routes."""

    def __init__(self, limits: Limits, access: Access) -> None:
        """`access` says who may ask, from which pages, and what is logged."""
        self.limits = limits
        self.access = access
        self.keys = KeyRing(access.keys)
        self.log = AccessLog(access.log, write_stderr)
        self.status = Status()
        self.metrics = Metrics()
        self.engine = Engine(self.status, self._load_prompts)
        self.queue = FairQueue(limits.waiting)
        self.metrics.looked.look = lambda: gauges(self.status, self.queue)
        self.page = assemble()
        self.tokenising = Tokenising()
        self.unsent = Unsent()
        self.bodies = Bodies()
        self._created = int(time.time())
        self._prompts: asyncio.Future[Prompts] | None = None
        self._generations: set[asyncio.Task[None]] = set()

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/", self.show_page),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.show_metrics),
            Route("/openapi.json", self.document),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.one_model),
            Route("/v1/chat/completions", GenerationRoute(self, CHAT_COMPLETIONS), methods=["POST"]),
            Route("/v1/completions", GenerationRoute(self, COMPLETIONS), methods=["POST"]),
        ]
        handlers = {HTTPException: _http_error, ApiError: _api_error, Exception: _server_error}
        app = Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]
        app.router.redirect_slashes = False  # it would lead elsewhere by the Host header
        admitted = Admission(app, self.limits.hosts, self.access.origins, keys=bool(self.access.keys))
        return Edge(admitted, self.log, self.access.origins)

    def stop(self) -> None:
        """Takes no more requests; those that wait are sent away."""
        self.status.stopping = True
        self.queue.close()
        self.tokenising.close()

    def cut(self) -> None:
        """Ends what still runs; its clients hear that the server is stopping."""
        for task in self._generations:
            task.cancel()

    @contextlib.contextmanager
    def generation(self) -> Iterator[None]:
        """Around a request that `cut` may end."""
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        self._generations.add(task)
        try:
            yield
        finally:
            self._generations.discard(task)

    async def health(self, _request: Request) -> Response:
        """200 once the model answers, 503 with the progress before."""
        return json_response(self.status.report(), 200 if self.status.ready else 503)

    async def ready(self, _request: Request) -> Response:
        """200 while requests are taken."""
        serving = self.status.serving
        return json_response({"ready": serving, "phase": self.status.phase}, 200 if serving else 503)

    async def show_page(self, _request: Request) -> Response:
        """The page for a browser."""
        return Response(self.page.body, headers=self.page.headers)

    async def show_metrics(self, http: Request) -> Response:
        """Prometheus' text format, or OpenMetrics."""
        text, media_type = self.metrics.render(http.headers.get("accept", ""))
        return Response(text, headers={"content-type": media_type})

    async def document(self, _request: Request) -> Response:
        """The OpenAPI document; it names the model once it is known."""
        prompts = self._loaded_prompts()
        return json_response(openapi.document(self.served(), prompts.vocabulary if prompts else None))

    async def models(self, http: Request) -> Response:
        """The model under each of its names; empty while it loads."""
        self.authorize(http.scope)
        return json_response(model_list(self.served() if self.status.ready else None, self._created))

    async def one_model(self, http: Request) -> Response:
        """The model by its name."""
        self.authorize(http.scope)
        served, name = self.served(), http.path_params["name"]
        if served is None:
            raise ApiError(404, "the model is not known yet: it loads", param="model", code="model_not_found")
        served.resolve(name)
        return json_response(model_entry(served, name, self._created))

    def served(self) -> Served | None:
        """The model as requests may name it; None before the launcher has said which one it is."""
        model, limits = self.status.model, self.limits
        return None if model is None else Served(model, limits.aliases, limits.any_model, limits.ignore_unknown)

    def reload_keys(self) -> None:
        """Reads the key file again. Errors: UsageError, and the keys stay as they were."""
        if self.access.key_file is not None:
            self.keys.replace(read_keys(self.access.key_file))

    def authorize(self, scope: Scope) -> ApiKey | None:
        """The request's key, None where none is needed. Errors: ApiError 401 without a right one."""
        key = self.keys.identify(scope)
        if key is not None:
            record = record_of(scope)
            record.key, record.scope = key.name, key.scope
        return key

    def body_limit(self) -> BodyLimit:
        """How large a request may be, by what is known of the model so far."""
        model, prompts = self.status.model, self._loaded_prompts()
        if model is None or prompts is None:
            return body_limit(self.limits.body)
        return body_limit(self.limits.body, model.cache_lens, prompts.longest_token)

    def _loaded_prompts(self) -> Prompts | None:
        """The tokenizer once it is read."""
        prompts = self._prompts
        if prompts is None or not prompts.done() or prompts.cancelled() or prompts.exception():
            return None
        return prompts.result()

    async def service(self) -> Service:
        """What a generation needs. Errors: ApiError 503 while the model does not answer."""
        status = self.status
        if status.stopping:
            raise stopping()
        served = self.served()
        if not status.ready or served is None or self._prompts is None:
            raise unavailable(f"the model does not answer yet: {status.phase}, {100 * status.share:.0f} %", "loading")
        try:
            prompts = await asyncio.shield(self._prompts)
        except EngineError as err:
            raise unavailable(err.line()) from err
        return Service(self.engine, self.queue, self.metrics, prompts, served, self.tokenising)

    def _load_prompts(self, model: ServedModel) -> None:
        """Reads the tokenizer beside everything else: a large one takes a second."""

        def done(future: "asyncio.Future[Prompts]") -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self.status.fail(str(error))

        self._prompts = asyncio.ensure_future(asyncio.to_thread(load, Path(model.folder)))
        self._prompts.add_done_callback(done)


class GenerationRoute:
    """The endpoint of one door, as an ASGI application: it must see when the client goes away."""

    def __init__(self, front: Front, door: Door) -> None:
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
                generation = Generation(service, request, client, record)
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


async def _api_error(_request: Request, err: ApiError) -> Response:
    return err.response()


async def _http_error(_request: Request, err: HTTPException) -> Response:
    return ApiError(err.status_code, err.detail, headers=err.headers).response()


async def _server_error(_request: Request, err: Exception) -> Response:
    return ApiError(500, f"the front end failed: {type(err).__name__}", kind="server_error").response()
