"""Classifies failed requests to the registry: transient errors, and those that a retry cannot fix."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from leviathan.errors import RegistryError, connection_refused, unknown_host
from leviathan.proxies import Proxy

#: Errors of plain HTTP if the server speaks another protocol.
NO_HTTP = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
#: OpenSSL's messages for bytes that are not TLS.
NO_TLS = ("wrong version number", "unknown_protocol", "packet length too long", "record layer")


class ConnectionFailed(Exception):
    """The connection was refused, broke, or timed out. A retry may succeed.

    `refused`: nothing listens at the address of a registry that has not answered before.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused

    @property
    def words(self) -> str:
        """What happened, for a message."""
        return f"{'no connection' if self.refused else 'connection lost'} ({self})"


@dataclass(frozen=True)
class Asked:
    """A failed request: the registry's `base`, the requested `url`, and the proxy in between, if any.

    `answered`: whether the registry has answered before in this process.
    """

    base: str
    url: str
    proxy: Proxy | None
    plain_http: bool
    answered: bool


def bad_answer(base: str, why: str) -> RegistryError:
    """The error for an answer that cannot come from a registry; `why` says what it contains."""
    return RegistryError(
        "the answer does not come from a registry",
        where=base,
        why=f"it has {why}",
        remedy=f"check what answers there: curl -i {base.split('/v2/')[0]}/v2/; there may be a proxy or a login portal "
        "in between",
    )


def explained(error: httpx.TransportError, asked: Asked) -> Exception:
    """`ConnectionFailed` if a retry may succeed, else a RegistryError that says what to correct."""
    text = str(error) or type(error).__name__
    lowered = text.lower()
    proxy = asked.proxy
    through = f" through the proxy {proxy.address} of {proxy.source}" if proxy is not None else ""
    if unknown_host(error) and not asked.answered:
        return RegistryError(
            "cannot resolve the host name",
            where=proxy.address if proxy is not None else asked.url.split("?")[0],
            why=text,
            remedy=f"correct {proxy.source}" if proxy is not None else "correct registry.host in the site file",
        )
    if "certificate" in lowered and "verify" in lowered:
        return RegistryError(
            "the registry's certificate cannot be verified",
            where=asked.base,
            why=text,
            remedy="set registry.ca_file to the PEM file of the registry's CA",
        )
    if not asked.plain_http and any(sign in lowered for sign in NO_TLS):
        return RegistryError(
            "the registry speaks HTTP, but registry.plain_http is false",
            where=asked.base,
            why=text,
            remedy="if the registry has no TLS, set registry.plain_http = true in the site file, or use --plain-http",
        )
    if isinstance(error, httpx.ProxyError):
        host = urlsplit(asked.url).hostname
        remedy = f"correct the proxy's address, or add {host} to NO_PROXY"
        return RegistryError(
            "cannot reach the registry through the proxy", where=f"{asked.base}{through}", why=text, remedy=remedy
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return bad_answer(asked.base, f"a redirect to an unsupported address ({text})")
    return ConnectionFailed(f"{text}{through}", refused=connection_refused(error) and not asked.answered)
