"""The routes: /health, /ready and /metrics for the cluster, /v1/... for OpenAI's clients, and other servers' APIs."""

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
from starlette.types import ASGIApp, Scope

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
from .access.span_exporter import Exporter
from .admission import Admission
from .bodies import Bodies
from .body_limit import BodyLimit, body_limit
from .engine import Engine
from .generation.grammars import Grammars
from .generation.run import Service
from .generation_route import GenerationRoute
from .limits import Limits
from .memory import gauges
from .metrics import Metrics
from .openai.adapters import CHAT_COMPLETIONS, COMPLETIONS
from .openai.models import model_entry, model_list
from .outbox import Unsent
from .page import assemble
from .routes import other_apis
from .served import Served
from .status import Status
from .tokenising import WAITING, Tokenising


class Front:
    """The state behind the routes."""

    def __init__(self, limits: Limits, access: Access) -> None:
        """`access` has the API keys, the origins for CORS, TLS and the log settings."""
        self.limits = limits
        self.access = access
        self.keys = KeyRing(access.keys)
        self.log = AccessLog(access.log, write_stderr)
        self.traces = Exporter(access.collector, _note) if access.collector else None
        self.status = Status()
        self.metrics = Metrics()
        self.engine = Engine(self.status, self._load_prompts)
        self.queue = FairQueue(limits.waiting)
        self.metrics.looked.look = lambda: gauges(self.status, self.queue)
        self.page = assemble()
        # More than the queue of answers allows, so that only that limit takes effect.
        self.tokenising = Tokenising(2 * limits.waiting + WAITING)
        self.grammars = Grammars(limits.waiting + WAITING)
        self.unsent = Unsent()
        self.bodies = Bodies()
        self.created = int(time.time())
        self._prompts: asyncio.Future[Prompts] | None = None
        self._generations: set[asyncio.Task[None]] = set()

    def app(self) -> ASGIApp:
        """Returns the ASGI application."""
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
            *other_apis(self),
        ]
        handlers = {HTTPException: _http_error, ApiError: _api_error, Exception: _server_error}
        app = Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]
        app.router.redirect_slashes = False  # a redirect would use the client's Host header
        admitted = Admission(app, self.limits.hosts, self.access.origins, keys=bool(self.access.keys))
        return Edge(admitted, self.log, self.access.origins, self.traces)

    def stop(self) -> None:
        """Refuses new requests and those that wait."""
        self.status.stopping = True
        self.queue.close()
        self.tokenising.close()
        self.grammars.close()

    def cut(self) -> None:
        """Ends running requests with the error that the server is stopping."""
        for task in self._generations:
            task.cancel()

    @contextlib.contextmanager
    def generation(self) -> Iterator[None]:
        """Registers a request that `cut` may end, while the context is open."""
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        self._generations.add(task)
        try:
            yield
        finally:
            self._generations.discard(task)

    async def health(self, _request: Request) -> Response:
        """Returns 200 if the model is loaded and serving, otherwise 503 with the progress."""
        return json_response(self.status.report(), 200 if self.status.ready else 503)

    async def ready(self, _request: Request) -> Response:
        """Returns 200 while requests are accepted, otherwise 503."""
        serving = self.status.serving
        return json_response({"ready": serving, "phase": self.status.phase}, 200 if serving else 503)

    async def show_page(self, _request: Request) -> Response:
        """Returns the page for a browser."""
        return Response(self.page.body, headers=self.page.headers)

    async def show_metrics(self, _request: Request) -> Response:
        """Returns the metrics in Prometheus' text format."""
        text, media_type = self.metrics.render()
        return Response(text, headers={"content-type": media_type})

    async def document(self, _request: Request) -> Response:
        """Returns the OpenAPI document, with the model's name if it is known."""
        prompts = self._loaded_prompts()
        return json_response(openapi.document(self.served(), prompts.vocabulary if prompts else None))

    async def models(self, http: Request) -> Response:
        """Returns the model under each of its names; an empty list while it loads."""
        self.authorize(http.scope)
        return json_response(model_list(self.served() if self.status.ready else None, self.created))

    async def one_model(self, http: Request) -> Response:
        """Returns the model by its name."""
        self.authorize(http.scope)
        served, name = self.served(), http.path_params["name"]
        if served is None:
            raise ApiError(404, "the model is still loading", param="model", code="model_not_found")
        served.resolve(name)
        return json_response(model_entry(served, name, self.created))

    def served(self) -> Served | None:
        """Returns the model and its names; None until the launcher has sent them."""
        model, limits = self.status.model, self.limits
        return None if model is None else Served(model, limits.aliases, limits.any_model, limits.ignore_unknown)

    def reload_keys(self) -> None:
        """Reloads the key file. Errors: UsageError; the keys then stay unchanged."""
        if self.access.key_file is not None:
            self.keys.replace(read_keys(self.access.key_file))

    def authorize(self, scope: Scope) -> ApiKey | None:
        """Returns the request's key, None if none is needed. Errors: ApiError 401 for a missing or wrong key."""
        key = self.keys.identify(scope)
        if key is not None:
            record = record_of(scope)
            record.key, record.scope = key.name, key.scope
        return key

    def body_limit(self) -> BodyLimit:
        """Returns the size limit of a request body, from what is known about the model so far."""
        model, prompts = self.status.model, self._loaded_prompts()
        if model is None or prompts is None:
            return body_limit(self.limits.body)
        return body_limit(self.limits.body, model.cache_lens, prompts.longest_token)

    def _loaded_prompts(self) -> Prompts | None:
        """Returns the tokenizer, None until it is loaded."""
        prompts = self._prompts
        if prompts is None or not prompts.done() or prompts.cancelled() or prompts.exception():
            return None
        return prompts.result()

    async def service(self) -> Service:
        """Returns what a generation needs. Errors: ApiError 503 while the model is not ready."""
        status = self.status
        if status.stopping:
            raise stopping()
        served = self.served()
        if not status.ready or served is None or self._prompts is None:
            raise unavailable(f"the model is not ready yet: {status.phase}, {100 * status.share:.0f} %", "loading")
        try:
            prompts = await asyncio.shield(self._prompts)
        except EngineError as err:
            raise unavailable(err.line()) from err
        return Service(self.engine, self.queue, self.metrics, prompts, served, self.tokenising, self.grammars)

    def _load_prompts(self, model: ServedModel) -> None:
        """Loads the tokenizer in the background, because a large one takes a second."""

        def done(future: "asyncio.Future[Prompts]") -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self.status.fail(str(error))

        self._prompts = asyncio.ensure_future(asyncio.to_thread(load, Path(model.folder)))
        self._prompts.add_done_callback(done)


async def _api_error(_request: Request, err: ApiError) -> Response:
    return err.response()


async def _http_error(_request: Request, err: HTTPException) -> Response:
    return ApiError(err.status_code, err.detail, headers=err.headers).response()


async def _server_error(_request: Request, err: Exception) -> Response:
    return ApiError(500, f"internal server error: {type(err).__name__}", kind="server_error").response()


def _note(text: str) -> None:
    write_stderr(f"leviathan: {text}\n")
