"""HTTP requests to one registry: scheme, TLS, authentication, and classified connection failures."""

import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from leviathan import __version__
from leviathan.errors import RegistryError, unknown_host
from leviathan.http_client import HEADERS, BadAnswer, Bounds, ByHost
from leviathan.registry.auth import Authorizer, TokenRequest
from leviathan.registry.credentials import Credentials
from leviathan.registry.failures import NO_HTTP, Asked, ConnectionFailed, bad_answer, explained
from leviathan.registry.responses import error_text, parsed
from leviathan.terminal.output import Console


def speaks_tls(host: str, port: int, timeout_s: float = 5.0) -> bool:
    """Whether a TLS handshake with `host`:`port` succeeds within `timeout_s` seconds. Ignores the certificate.

    Sends nothing over the connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout_s) as plain:
            with context.wrap_socket(plain, server_hostname=host):
                return True
    except (OSError, ValueError):  # ssl.SSLError is an OSError; ValueError: a name that is invalid in SNI
        return False


#: Creates the body of a request; called each time that the request is sent.
Body = Callable[[], Iterable[bytes]]


class Transport:
    """Sends requests to one registry.

    Arguments: `host` with port; `plain_http`, whether to use HTTP; `ca_file`, a PEM file or an empty string;
    `credentials`, if any; `timeout_s`, seconds until an answer starts, and for a whole one; `connections`, maximum in
    parallel; `environ`, with the proxy variables, by default that of this process.
    """

    def __init__(
        self,
        host: str,
        *,
        plain_http: bool,
        ca_file: str = "",
        credentials: Credentials | None = None,
        timeout_s: float = 300.0,
        connections: int = 4,
        console: Console | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self.plain_http = plain_http
        self.base = f"{'http' if plain_http else 'https'}://{host}"
        self.console = console if console is not None else Console()
        self._answered = False  # whether the scheme is right, as an answer has shown
        self.authorizer = Authorizer(host, credentials, self._ask_token, plain_http=plain_http)
        self._way = ByHost(
            environ=os.environ if environ is None else environ,
            verify=False if plain_http else tls_context(ca_file),
            limits=httpx.Limits(max_connections=connections + 2, max_keepalive_connections=connections + 2),
            bounds=Bounds(seconds=timeout_s),
        )
        self._client = httpx.Client(
            transport=self._way,
            trust_env=False,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 15.0), pool=None),
            headers={"User-Agent": f"leviathan/{__version__}", **HEADERS},
            event_hooks={"request": [self._check_safe]},  # httpx calls it for each redirect, too
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def resolve(self, location: str) -> str:
        """A Location header as a URL. If the registry uses HTTPS, an http URL for its own host becomes https.

        Errors: RegistryError if the registry uses HTTPS, but the URL does not.
        """
        try:
            url = urljoin(self.base, location)
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
            httpx.URL(url)
        except (ValueError, httpx.InvalidURL):
            raise bad_answer(self.base, f"the address {location[:200]!r}") from None
        if not self.plain_http and parts.scheme == "http" and host == urlsplit(self.base).hostname:
            return urlunsplit(("https", self.host, *parts[2:]))
        if not self._safe(url):
            raise self._not_safe(url)
        return url

    def resolves(self, location: str) -> bool:
        """Whether `resolve` accepts an address. A saved one may be from before the registry had TLS."""
        try:
            self.resolve(location)
        except RegistryError:
            return False
        return True

    def _safe(self, url: str) -> bool:
        return self.plain_http or urlsplit(url).scheme == "https"

    def _not_safe(self, url: str) -> RegistryError:
        return RegistryError(
            "the registry redirects to an address without TLS",
            where=url.split("?")[0],
            why="the image would be sent unencrypted",
            remedy="configure the registry to use https addresses: http.host in its configuration, or the header "
            "X-Forwarded-Proto from its proxy",
        )

    def _check_safe(self, request: httpx.Request) -> None:
        if not self._safe(str(request.url)):
            raise self._not_safe(str(request.url))

    def request(
        self,
        method: str,
        url: str,
        *,
        scopes: Sequence[str],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> httpx.Response:
        """Send one request, and a second time if the registry asks for authentication.

        Arguments: `url`, a path below the registry or a resolved Location; `scopes`, what a token must allow; `body`,
        called each time that the request is sent.
        Errors: ConnectionFailed if the connection fails; RegistryError if a retry cannot help.
        """
        target = self.resolve(url)
        ours = urlsplit(target)[:2] == urlsplit(self.base)[:2]
        authorization = self.authorizer.header(scopes) if ours else None
        response = self._send(method, target, headers, body, authorization)
        if response.status_code == 401 and ours:
            challenge = ", ".join(response.headers.get_list("www-authenticate"))
            authorization = self.authorizer.answer(challenge, scopes, authorization)
            if authorization is not None:
                response = self._send(method, target, headers, body, authorization)
            if response.status_code == 401:
                raise self.authorizer.denied(error_text(response))
        if response.status_code == 403:
            raise self.authorizer.denied(error_text(response))
        if response.status_code == 400 and self._wants_tls():
            raise self._speaks_https()
        self._answered = True
        return response

    def _wants_tls(self) -> bool:
        """Whether the first answer, a 400 or a broken connection, means that the server expects TLS."""
        if not self.plain_http or self._answered:
            return False
        parts = urlsplit(self.base)
        return speaks_tls(parts.hostname or "", parts.port or 80)

    def _speaks_https(self) -> RegistryError:
        return RegistryError(
            "the registry speaks HTTPS, but registry.plain_http is true",
            where=self.base,
            remedy="set registry.plain_http = false in the site file, or use --https",
        )

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: Body | None,
        authorization: str | None,
    ) -> httpx.Response:
        sent = {**(headers or {}), **({"Authorization": authorization} if authorization else {})}
        try:
            response = self._client.request(
                method,
                url,
                headers=sent,
                content=body() if body is not None else None,
                follow_redirects=method in ("GET", "HEAD"),
            )
        except BadAnswer as error:
            raise bad_answer(self.base, str(error)) from None
        except httpx.TooManyRedirects:
            raise bad_answer(self.base, "a redirect loop, or more than 20 redirects") from None
        except httpx.TransportError as error:
            raise self._explained(error, url) from None
        self.console.debug(f"{method} {url.split('?')[0]} {response.status_code} {headers or ''}")
        return response

    def _explained(self, error: httpx.TransportError, url: str) -> Exception:
        if isinstance(error, NO_HTTP) and self._wants_tls():
            return self._speaks_https()
        asked = Asked(self.base, url, self._way.proxy(url), plain_http=self.plain_http, answered=self._answered)
        return explained(error, asked)

    def _ask_token(self, request: TokenRequest) -> Mapping[str, Any]:
        headers = {"Authorization": request.authorization} if request.authorization else {}
        try:
            if request.form is not None:
                response = self._client.post(request.url, data=request.form, headers=headers)
            else:
                response = self._client.get(request.url, params=list(request.query), headers=headers)
        except (BadAnswer, httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise self.authorizer.denied(f"its token server {request.url} answered {error}") from None
        except httpx.TransportError as error:
            if unknown_host(error):
                raise self.authorizer.denied(f"cannot resolve the name of its token server {request.url}") from None
            raise ConnectionFailed(f"token server {request.url}: {error}") from None
        if response.status_code >= 500 or response.status_code == 429:
            raise ConnectionFailed(f"token server {request.url} answered {response.status_code}")
        if response.status_code != 200:
            raise self.authorizer.denied(
                f"its token server {request.url} answered {response.status_code} {error_text(response)}"
            )
        answer = parsed(response)
        if not isinstance(answer, dict):
            raise self.authorizer.denied(f"its token server {request.url} did not return a JSON object")
        return answer


def tls_context(ca_file: str) -> ssl.SSLContext:
    """A TLS context with the system's CAs, plus those in the PEM file `ca_file`, if given.

    Errors: RegistryError if the file cannot be read as certificates.
    """
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        import certifi  # noqa: PLC0415 - only where the interpreter knows no system store

        context.load_verify_locations(certifi.where())
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise RegistryError(
                "cannot read the CA file",
                where=ca_file,
                why=error.strerror or str(error),
                remedy="set registry.ca_file to a PEM file",
            ) from None
    return context
