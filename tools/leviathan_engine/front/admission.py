"""Which requests are let in at all, by their heads: before a route, a key or a body is looked at.

- `Content-Length` together with `Transfer-Encoding` is 400, and the connection is closed (RFC 9112, section 6.1): a
  proxy in front may have read another length, and would take the rest for the next request.
- Two `Authorization` headers are 400: a proxy in front may have checked the other one.
- A page of another site may not post: browsers send such a page's form or text without asking first. What is
  `application/json` they ask for, and CORS answers.
- Where no key is needed, the `Host` must be an address or a local name: a page whose own name is made to lead to this
  server ("DNS rebinding") would otherwise be a page of ours to the browser.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from .api_error import ApiError, bad

# Asked by the kubelet and by balancers under any name; what they answer is no secret and changes nothing.
PROBES = ("/health", "/ready")
# Names that no public name server has an address for.
LOCAL_SUFFIXES = (".localhost", ".local", ".lan", ".internal", ".home.arpa", ".svc")
# Kubernetes' own, with the usual domain of a cluster.
CLUSTER_SUFFIX = ".cluster.local"
ANY = "*"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Admission:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str], origins: Sequence[str], *, keys: bool) -> None:
        """`hosts` are further names of this server, `*` any, `.example.org` all below; `origins` are those of CORS.

        `keys`: whether a key is needed, which a page that was led here does not have.
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
            raise _closing(bad("Content-Length and Transfer-Encoding exclude each other", code="invalid_http"))
        if names.count(b"authorization") > 1:
            raise bad("there is more than one Authorization header", code="invalid_http")
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if scope["path"] not in PROBES and host and not local_name(host, self._hosts):
            raise _closing(
                ApiError(
                    421,
                    f"this server does not answer to the name {host[:100]!r}: set LEVIATHAN_HOSTS, or use its address",
                    code="unknown_host",
                )
            )
        if scope["method"] not in SAFE_METHODS and _foreign(headers, host, self._origins):
            raise ApiError(
                403,
                "a page of another site may only send application/json: set LEVIATHAN_CORS_ORIGINS for it",
                code="cross_site",
            )


@lru_cache(256)
def local_name(host: str, names: tuple[str, ...]) -> bool:
    """Whether a `Host` header names this server: by an address, a name without dots, a local one, or one of `names`."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        urlsplit(f"//{host}").port  # noqa: B018 - it is checked when it is read
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
    """Whether a browser sends this for a page of another site without having asked."""
    origin = headers.get(b"origin")
    if origin is None or origin.lower() in origins or ANY in origins:
        return False
    kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    return kind != "application/json" and origin.partition("://")[2].lower() != host.lower()


def _closing(err: ApiError) -> ApiError:
    err.headers["connection"] = "close"
    return err
