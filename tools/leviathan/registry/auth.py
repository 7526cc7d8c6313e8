"""Authenticates to a registry: basic authentication, or a bearer token from its token server.

Source of the flow: the distribution project's "Token Authentication Specification" and its OAuth2 variant; the header's
grammar is RFC 9110, 11.6.1.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.errors import RegistryError
from leviathan.registry.credentials import Credentials

CLIENT_ID = "leviathan"
#: A token counts as expired this many seconds before its end.
EARLY_S = 15.0
#: Lifetime of a token in seconds if the server does not tell it (the specification's default).
DEFAULT_LIFE_S = 60.0
#: Maximum lifetime of a token in seconds.
LONGEST_S = 86400.0
_PARAMETER = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Challenge:
    """One WWW-Authenticate header: its scheme in lower case and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class TokenRequest:
    """A request to the token server: a GET with `query` and optional basic credentials, or a POST with `form`."""

    url: str
    query: Sequence[tuple[str, str]] = ()
    form: Mapping[str, str] | None = None
    authorization: str = ""


def parse_challenge(header: str) -> Challenge:
    """Parse a WWW-Authenticate header. If it has several challenges, returns the first that is Bearer or Basic.

    Example: `parse_challenge('Bearer realm="https://a/token",service="r"').parameters["service"]` is `r`.
    """
    for match in re.finditer(
        r"\b(bearer|basic)\b(?!\s*=)\s*(.*?)(?=,?\s*\b(?:bearer|basic)\b\s+\w+\s*=|$)", header, re.I | re.S
    ):
        found = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
            for name, quoted, plain in _PARAMETER.findall(match[2])
        }
        return Challenge(match[1].lower(), found)
    return Challenge(header.split(" ", 1)[0].lower(), {})


def scope(repository: str, *, push: bool) -> str:
    """The scope string for a repository."""
    return f"repository:{repository}:{'pull,push' if push else 'pull'}"


class Authorizer:
    """Keeps what the registry accepts: nothing, basic credentials, or one token for each set of scopes.

    Arguments: `host` of the registry, for errors; `credentials`, if any; `ask` sends a `TokenRequest` and returns the
    token server's JSON object; `plain_http` allows a token server without TLS; `clock` in seconds.
    """

    def __init__(
        self,
        host: str,
        credentials: Credentials | None,
        ask: Callable[[TokenRequest], Mapping[str, Any]],
        *,
        plain_http: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.credentials = credentials
        self._ask = ask
        self._plain_http = plain_http
        self._clock = clock
        self._basic = False
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scopes: Sequence[str]) -> str | None:
        """The Authorization header for `scopes`, or None before the registry has asked for one."""
        with self._lock:
            if self._basic and self.credentials is not None:
                return self.credentials.basic()
            if self._challenge is None:
                return None
            token, end = self._tokens.get(tuple(scopes), ("", 0.0))
            if not token or self._clock() >= end:
                token = self._fetch(tuple(scopes), self._challenge)
            return f"Bearer {token}"

    def answer(self, www_authenticate: str, scopes: Sequence[str], sent: str | None) -> str | None:
        """The header to try after a 401, or None if there is no other than `sent`.

        Errors: RegistryError if the challenge cannot be answered.
        """
        challenge = parse_challenge(www_authenticate)
        with self._lock:
            if challenge.scheme == "basic":
                if self.credentials is None or not self.credentials.username:
                    raise self.denied("it requires a user name and password")
                self._basic = True
            elif challenge.scheme == "bearer":
                self._challenge = challenge
                token, _ = self._tokens.get(tuple(scopes), ("", 0.0))
                if sent == f"Bearer {token}":
                    self._tokens.pop(tuple(scopes), None)
            else:
                raise self.denied(
                    f"it requires an unsupported kind of authentication: {www_authenticate or 'not specified'}"
                )
        new = self.header(scopes)
        return None if new == sent else new

    def denied(self, why: str) -> RegistryError:
        """The error for a registry that denies access."""
        return RegistryError("the registry denies access", where=self.host, why=why, remedy=f"docker login {self.host}")

    def _fetch(self, scopes: tuple[str, ...], challenge: Challenge) -> str:
        request = token_request(challenge, scopes, self.credentials)
        if not request.url.startswith("https://") and not (self._plain_http and request.url.startswith("http://")):
            raise RegistryError(
                "the token server does not use TLS",
                where=request.url or self.host,
                why="credentials would be sent unencrypted",
                remedy="ask the registry's operator for an https realm, or set registry.plain_http = true",
            )
        answer = self._ask(request)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise self.denied(f"its token server {request.url} returned no token")
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise self.denied(f"its token server {request.url} returned a token that cannot be sent in a header")
        life = answer.get("expires_in")
        seconds = float(min(life, LONGEST_S)) if isinstance(life, int | float) and life > 0 else DEFAULT_LIFE_S
        self._tokens[scopes] = (token, self._clock() + max(seconds - EARLY_S, seconds / 2))
        return token


def token_request(challenge: Challenge, scopes: Sequence[str], credentials: Credentials | None) -> TokenRequest:
    """The request for a token: OAuth2 for an identity token, else a GET, with basic credentials if there are any."""
    url, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
    if credentials is not None and credentials.identity_token:
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "service": service,
            "scope": " ".join(scopes),
            "refresh_token": credentials.identity_token,
        }
        return TokenRequest(url, form=form)
    query = [("service", service)] if service else []
    query += [("scope", text) for text in scopes]
    return TokenRequest(url, query=query, authorization=credentials.basic() if credentials is not None else "")
