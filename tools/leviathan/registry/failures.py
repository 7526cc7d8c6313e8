"""Why a request to the registry failed: what another attempt may mend, and what it cannot."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from leviathan.errors import RegistryError, unknown_host
from leviathan.proxies import Proxy

#: How plain HTTP breaks at once where the other side speaks something else.
NO_HTTP = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
#: What OpenSSL says of bytes that are no TLS.
NO_TLS = ("wrong version number", "unknown_protocol", "packet length too long", "record layer")


class ConnectionFailed(Exception):
    """The connection failed: refused, cut, or too slow. Worth another attempt."""


@dataclass(frozen=True)
class Asked:
    """A request that failed: the registry's `base` and the `url` asked, the proxy in between if there is one.

    `answered` says whether the registry has ever answered in this process.
    """

    base: str
    url: str
    proxy: Proxy | None
    plain_http: bool
    answered: bool


def bad_answer(base: str, why: str) -> RegistryError:
    """The error for what no registry answers; `why` says what it was."""
    return RegistryError(
        "the answer is not one of a registry",
        where=base,
        why=f"it has {why}",
        remedy=f"see what answers there: curl -i {base.split('/v2/')[0]}/v2/; a proxy or a portal may stand in between",
    )


def explained(error: httpx.TransportError, asked: Asked) -> Exception:
    """A `ConnectionFailed` where another attempt may do, else a RegistryError that says what to correct."""
    text = str(error) or type(error).__name__
    lowered = text.lower()
    proxy = asked.proxy
    through = f" through the proxy {proxy.address} of {proxy.source}" if proxy is not None else ""
    if unknown_host(error) and not asked.answered:
        return RegistryError(
            "the name does not resolve",
            where=proxy.address if proxy is not None else asked.url.split("?")[0],
            why=text,
            remedy=f"correct {proxy.source}" if proxy is not None else "correct registry.host in the site file",
        )
    if "certificate" in lowered and "verify" in lowered:
        return RegistryError(
            "the registry's certificate cannot be verified",
            where=asked.base,
            why=text,
            remedy="set registry.ca_file to the PEM file of its authority",
        )
    if not asked.plain_http and any(sign in lowered for sign in NO_TLS):
        return RegistryError(
            "the registry answers plain HTTP where HTTPS is expected",
            where=asked.base,
            why=text,
            remedy="if it really has no TLS: registry.plain_http = true in the site file, or --plain-http",
        )
    if isinstance(error, httpx.ProxyError):
        host = urlsplit(asked.url).hostname
        remedy = f"correct the proxy's address, or add {host} to NO_PROXY"
        return RegistryError(
            "the proxy does not lead to the registry", where=f"{asked.base}{through}", why=text, remedy=remedy
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return bad_answer(asked.base, f"a redirect to an address that cannot be asked ({text})")
    return ConnectionFailed(f"{text}{through}")
