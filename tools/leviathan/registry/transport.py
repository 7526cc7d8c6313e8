"""HTTP to one registry: scheme, TLS, authentication, and connection failures told apart."""

import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from leviathan import __version__
from leviathan.errors import RegistryError
from leviathan.registry.auth import Authorizer, TokenRequest
from leviathan.registry.credentials import Credentials
from leviathan.terminal.output import Console


def speaks_tls(host: str, port: int, timeout_s: float = 5.0) -> bool:
    """Whether a TLS handshake with `host`:`port` succeeds within `timeout_s` seconds; no certificate is looked at.

    Nothing is sent over the connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout_s) as plain:
            with context.wrap_socket(plain, server_hostname=host):
                return True
    except (OSError, ValueError):  # ssl.SSLError is an OSError; ValueError: a name that SNI cannot carry
        return False


#: How plain HTTP breaks at once where the other side speaks something else.
NO_HTTP = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
#: Makes the body of a request, once for each time that it is sent.
Body = Callable[[], Iterable[bytes]]


class ConnectionFailed(Exception):
    """The connection failed: refused, cut, or too slow. Worth another attempt."""


class Transport:
    """Sends requests to one registry.

    Arguments: `host` with port; `plain_http`, whether it speaks HTTP; `ca_file`, a PEM file or an empty text;
    `credentials`, if any; `timeout_s`, seconds without an answer; `connections` at once.
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
    ) -> None:
        self.host = host
        self.plain_http = plain_http
        self.base = f"{'http' if plain_http else 'https'}://{host}"
        self.console = console if console is not None else Console()
        self._answered = False  # whether the scheme is right, as an answer has shown
        self.authorizer = Authorizer(host, credentials, self._ask_token, plain_http=plain_http)
        self._client = httpx.Client(
            verify=False if plain_http else tls_context(ca_file),
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 15.0), pool=None),
            limits=httpx.Limits(max_connections=connections + 2, max_keepalive_connections=connections + 2),
            headers={"User-Agent": f"leviathan/{__version__}"},
            event_hooks={"request": [self._check_safe]},  # httpx calls it for each redirect, too
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def resolve(self, location: str) -> str:
        """A Location header as a URL; an http one for this very host becomes https when the registry speaks HTTPS.

        Errors: RegistryError when bytes would go there without TLS though the registry speaks HTTPS.
        """
        url = urljoin(self.base, location)
        parts = urlsplit(url)
        if not self.plain_http and parts.scheme == "http" and parts.hostname == urlsplit(self.base).hostname:
            return urlunsplit(("https", self.host, *parts[2:]))
        if not self._safe(url):
            raise self._not_safe(url)
        return url

    def resolves(self, location: str) -> bool:
        """Whether `resolve` has no objection to an address, as one may be left from before the registry had TLS."""
        try:
            self.resolve(location)
        except RegistryError:
            return False
        return True

    def _safe(self, url: str) -> bool:
        return self.plain_http or urlsplit(url).scheme == "https"

    def _not_safe(self, url: str) -> RegistryError:
        return RegistryError(
            "the registry names an address that is not safe",
            where=url.split("?")[0],
            why="bytes would travel without TLS",
            remedy="have it name https addresses: http.host in its configuration, X-Forwarded-Proto from its proxy",
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
        """Send one request, at most twice: again when the registry asks for authentication.

        Arguments: `url`, a path below the registry or a resolved Location; `scopes`, what a token must allow; `body`,
        called once for each time it is sent.
        Errors: ConnectionFailed when the connection fails; RegistryError when another attempt cannot help.
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
        """Whether what came first instead of a registry's answer, a 400 or a broken connection, is for want of TLS."""
        if not self.plain_http or self._answered:
            return False
        parts = urlsplit(self.base)
        return speaks_tls(parts.hostname or "", parts.port or 80)

    def _speaks_https(self) -> RegistryError:
        return RegistryError(
            "the registry speaks HTTPS where HTTP is configured",
            where=self.base,
            remedy="set registry.plain_http = false in the site file, or --https",
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
        except httpx.TransportError as error:
            raise self._explained(error) from None
        self.console.debug(f"{method} {url.split('?')[0]} {response.status_code} {headers or ''}")
        return response

    def _explained(self, error: httpx.TransportError) -> Exception:
        text = str(error) or type(error).__name__
        lowered = text.lower()
        if "certificate" in lowered and "verify" in lowered:
            return RegistryError(
                "the registry's certificate cannot be verified",
                where=self.base,
                why=text,
                remedy="set registry.ca_file to the PEM file of its authority",
            )
        if not self.plain_http and any(
            sign in lowered
            for sign in ("wrong version number", "unknown_protocol", "packet length too long", "record layer")
        ):
            return RegistryError(
                "the registry answers plain HTTP where HTTPS is expected",
                where=self.base,
                why=text,
                remedy="if it really has no TLS: registry.plain_http = true in the site file, or --plain-http",
            )
        if isinstance(error, NO_HTTP) and self._wants_tls():
            return self._speaks_https()
        if isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError):
            return RegistryError(
                "the registry cannot be reached", where=self.base, why=text, remedy="check the proxy settings"
            )
        return ConnectionFailed(text)

    def _ask_token(self, request: TokenRequest) -> Mapping[str, Any]:
        headers = {"Authorization": request.authorization} if request.authorization else {}
        try:
            if request.form is not None:
                response = self._client.post(request.url, data=request.form, headers=headers)
            else:
                response = self._client.get(request.url, params=list(request.query), headers=headers)
        except httpx.TransportError as error:
            raise ConnectionFailed(f"token server {request.url}: {error}") from None
        if response.status_code >= 500 or response.status_code == 429:
            raise ConnectionFailed(f"token server {request.url} answered {response.status_code}")
        if response.status_code != 200:
            raise self.authorizer.denied(
                f"its token server {request.url} answered {response.status_code} {error_text(response)}"
            )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self.authorizer.denied(f"its token server {request.url} answered no JSON object")
        return answer


def tls_context(ca_file: str) -> ssl.SSLContext:
    """TLS as the system trusts it, plus the PEM file `ca_file` if one is named.

    Errors: RegistryError when the file cannot be read as certificates.
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


def error_text(response: httpx.Response) -> str:
    """What a registry says about an error: its code and message, else the start of the body, else the status."""
    try:
        first = response.json()["errors"][0]
        detail = first.get("detail")
        text = f"{first.get('code', '')} {first.get('message', '')}{f' {detail}' if detail else ''}".strip()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        text = " ".join(response.text.split())
    return text[:300] or f"status {response.status_code}"
