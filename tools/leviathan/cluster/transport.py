"""Sends requests to a Kubernetes API server through the official client, and retries those that are safe to repeat."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.api_errors import ApiRequest, refused, unreachable
from leviathan.cluster.bounds import MOST, whole
from leviathan.cluster.errors import ClusterError
from leviathan.proxies import Proxy
from leviathan.retry import TRANSIENT_STATUSES, parse_retry_after

#: The content type of server-side apply; the body may be JSON.
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait, in seconds.

    `first_s`: for the first answer; `again_s`: for an API server that has answered before, because it may restart;
    `request_s`: for one answer; `connect_s`: for one connection; `pause_s`: before the first retry, doubled each time.
    """

    first_s: float = 10.0
    again_s: float = 90.0
    request_s: float = 30.0
    connect_s: float = 5.0
    pause_s: float = 0.25


#: For a pod's log. If the node does not answer, other messages about the pod must not wait for its log.
LOG_PATIENCE = RetryPolicy(first_s=5.0, again_s=5.0, request_s=10.0)


class Transport:
    """One API server's HTTP.

    Arguments: `api`, the official client's ApiClient; `context`, the name of the kubeconfig context, for errors;
    `patience`, the retry policy; `clock` (seconds, monotonic) and `sleep`, injected for tests; `proxy`, the proxy that
    `api` uses, for errors. `warnings` collects the texts of Warning headers.
    """

    def __init__(
        self,
        api: Any,
        context: str,
        patience: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        proxy: Proxy | None = None,
    ) -> None:
        self.api = api
        self.proxy = proxy
        self.context = context
        self.server = str(api.configuration.host)
        self.patience = patience or RetryPolicy()
        self.clock = clock
        self.sleep = sleep
        self.warnings: list[str] = []
        self._answered = False

    def asked(self, method: str, path: str) -> ApiRequest:
        """A request, for error messages."""
        proxy = f"{self.proxy.address} of {self.proxy.source}" if self.proxy is not None else ""
        return ApiRequest(method, path, self.context, self.server, proxy)

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        *,
        body: Any = None,
        content_type: str = "application/json",
        stream: bool = False,
        read_s: float | None = None,
    ) -> Any:
        """Send a request and return the successful answer, a urllib3 response. Retries until the deadline if safe.

        Arguments: `query`, booleans become true and false; `body`, a JSON value; `stream`, do not read the body, and
        limit the wait for each piece of it to `read_s` seconds, if given.
        Errors: ClusterError.
        """
        ends = self.clock() + (self.patience.again_s if self._answered else self.patience.first_s)
        pause = self.patience.pause_s
        tried = 0
        while True:
            try:
                return self._once(method, path, query, body, content_type, stream, read_s)
            except ClusterError as error:
                tried += 1
                wait = max(pause, error.retry_after_s)
                hopeless = error.reason == "UnknownHost" and not self._answered
                if hopeless or not bears_retry(method, content_type, error, tried) or self.clock() + wait >= ends:
                    raise
            self.sleep(wait)
            pause = min(pause * 2, 5.0)

    def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Any,
        content_type: str,
        stream: bool,
        read_s: float | None,
    ) -> Any:
        from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        asked = self.asked(method, path)
        headers = {"Accept": "application/json, */*", **({"Content-Type": content_type} if body is not None else {})}
        try:
            answer = self.api.call_api(
                path,
                method,
                query_params=[(key, _text(value)) for key, value in query.items()],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=(self.patience.connect_s, read_s if stream else self.patience.request_s),
            )
            if not stream:
                answer = whole(answer, MOST)  # while errors are still caught here
        except ApiException as error:
            if not error.status:
                raise unreachable(asked, error) from None
            self._answered = True
            wait_s = parse_retry_after((error.headers or {}).get("Retry-After")) or 0.0
            raise refused(asked, error.status, error.body, wait_s) from None
        except ClusterError as error:
            error.where = error.where or asked.where
            raise
        except (HTTPError, OSError) as error:
            raise unreachable(asked, error) from None
        self._answered = True
        self._heed(answer.headers.getlist("Warning"))
        return answer

    def _heed(self, headers: list[str]) -> None:
        """Keep the texts of Warning headers, `299 - "text"`. Source: RFC 7234, 5.5."""
        for header in headers:
            start, end = header.find('"'), header.rfind('"')
            text = header[start + 1 : end].replace('\\"', '"').replace("\\\\", "\\") if 0 <= start < end else header
            self.warnings.append(text)


def bears_retry(method: str, content_type: str, error: ClusterError, tried: int) -> bool:
    """Whether a request may be sent again after `error`; `tried` is the number of attempts so far.

    Reads may always be retried. Idempotent writes (delete, server-side apply) may be retried once. Every request may be
    retried after a 429, because the server has not processed it.
    """
    if error.reason in ("TLS", "BadAnswer", "BadKubeconfig") or (
        error.status and error.status not in TRANSIENT_STATUSES
    ):
        return False
    if method == "GET" or error.status == 429:
        return True
    return tried == 1 and (method == "DELETE" or content_type == APPLY)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
