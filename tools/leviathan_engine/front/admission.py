"""Refuses requests by their headers, before a route, a key or a body is read.

- `Content-Length` together with `Transfer-Encoding` gets status 400, and the connection is closed (RFC 9112, section
  6.1): a proxy may have used the other length, and would treat the rest as the next request.
- Two `Authorization` headers get status 400: a proxy may have checked the other one.
- Pages of other sites may not post forms or text, which browsers send without a preflight. For `application/json`
  browsers send a preflight, which CORS answers.
- Without API keys, the `Host` must be an address or a local name. Otherwise a page whose name resolves to this server
  ("DNS rebinding") would have this server's origin in the browser.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from .api_error import ApiError, bad

# Paths that the kubelet and load balancers request under any name; the answers are public, and change nothing.
PROBES = ("/health", "/ready")
# Suffixes that public name servers do not resolve.
LOCAL_SUFFIXES = (".localhost", ".local", ".lan", ".internal", ".home.arpa", ".svc")
# Suffixes of Kubernetes Services, with the default cluster domain.
CLUSTER_SUFFIX = ".cluster.local"
ANY = "*"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Admission:
    """An ASGI application that wraps another."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str], origins: Sequence[str], *, keys: bool) -> None:
        """`hosts` are more names of this server; `*`: any, `.example.org`: all subdomains. `origins` are those of CORS.

        `keys`: whether API keys are needed; then the host is not checked, because a rebinding page has no key.
        """
        self._app = app
        self._hosts = (ANY,) if keys else tuple(name.lower() for name in hosts)
        self._origins = tuple(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with an error, or passes the request on."""
        if scope["type"] == "http":
            try:
                self.check(scope)
            except ApiError as err:
                await err.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def check(self, scope: Scope) -> None:
        """Errors: ApiError 400, 403, 421."""
        names = [name for name, _value in scope["headers"]]
        if b"content-length" in names and b"transfer-encoding" in names:
            raise _closing(bad("expected Content-Length or Transfer-Encoding, got both", code="invalid_http"))
        if names.count(b"authorization") > 1:
            raise bad("expected one Authorization header, got several", code="invalid_http")
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if scope["path"] not in PROBES and host and not local_name(host, self._hosts):
            raise _closing(
                ApiError(
                    421,
                    f"the host name {host[:100]!r} is not one of this server: add it to LEVIATHAN_HOSTS, or use the"
                    " server's IP address",
                    code="unknown_host",
                )
            )
        if scope["method"] not in SAFE_METHODS and _foreign(headers, host, self._origins):
            raise ApiError(
                403,
                "pages of other sites may only send application/json: add the site to LEVIATHAN_CORS_ORIGINS",
                code="cross_site",
            )


@lru_cache(256)
def local_name(host: str, names: tuple[str, ...]) -> bool:
    """Whether a `Host` header is an address, a name without dots, a local name, or one of `names`."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        urlsplit(f"//{host}").port  # noqa: B018 - reading it checks it
    except ValueError:
        return False
    if ANY in names or name in names or "." not in name:
        return True
    if name.endswith((*LOCAL_SUFFIXES, CLUSTER_SUFFIX, *(one for one in names if one.startswith(".")))):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _foreign(headers: dict[bytes, str], host: str, origins: Sequence[str]) -> bool:
    """Whether a browser sends this request for a page of another site without a preflight."""
    origin = headers.get(b"origin")
    if origin is None or origin.lower() in origins or ANY in origins:
        return False
    kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    return kind != "application/json" and origin.partition("://")[2].lower() != host.lower()


def _closing(err: ApiError) -> ApiError:
    err.headers["connection"] = "close"
    return err
