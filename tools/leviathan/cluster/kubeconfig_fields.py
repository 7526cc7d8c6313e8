"""Handles the fields of a kubeconfig that kubectl honours but the official client ignores.

A field that neither the client nor this module supports is an error: if it were ignored, requests could go to another
server, or run as another user. Source: client-go, `clientcmd/api/v1/types.go`, `rest/transport.go`.
"""

import base64
import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from leviathan.cluster.errors import ClusterError
from leviathan.proxies import Proxy, ProxyRefused, parse_proxy, proxy_for

CLUSTER = frozenset(
    [
        "server",
        "tls-server-name",
        "insecure-skip-tls-verify",
        "certificate-authority",
        "certificate-authority-data",
        "proxy-url",
        "disable-compression",
        "extensions",
    ]
)
USER = frozenset(
    [
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
        "token",
        "tokenFile",
        "as",
        "as-uid",
        "as-groups",
        "as-user-extra",
        "username",
        "password",
        "auth-provider",
        "exec",
        "extensions",
    ]
)
#: Characters that a header's name may have in addition to letters and digits. Others are percent-encoded.
TOKEN_SIGNS = "!#$&'*+-.^_`|~"
#: Headers, in order; a name may occur more than once.
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Chosen:
    """The cluster and the user of a context, as in the files; `where` names the files."""

    cluster: Mapping[str, Any]
    user: Mapping[str, Any]
    where: str

    def bad(self, what: str, why: str, remedy: str) -> ClusterError:
        """The error for a field."""
        return ClusterError(what, where=self.where, why=why, remedy=remedy, reason="BadKubeconfig")


def filled(paths: Sequence[Path]) -> list[Path]:
    """The files that are not empty, as kubectl skips empty ones; all files if all are empty."""
    found = [path for path in paths if path.is_file()]
    return [path for path in found if yaml.safe_load(path.read_text(encoding="utf-8")) is not None] or found


def choose(paths: Sequence[Path], context: str) -> Chosen:
    """The cluster and the user of `context`. If several files define a name, the first one counts.

    Errors: ClusterError for an unsupported field; KeyError, TypeError and AttributeError for an invalid kubeconfig.
    """
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]

    def named(section: str, name: str) -> Mapping[str, Any]:
        entries = [entry for each in files for entry in each.get(section) or [] if entry["name"] == name]
        return (entries[0].get(section.removesuffix("s")) if entries else None) or {}

    pair = named("contexts", context)
    chosen = Chosen(
        named("clusters", str(pair.get("cluster", ""))),
        named("users", str(pair.get("user", ""))),
        ", ".join(map(str, paths)),
    )
    for kind, fields, known in (("cluster", chosen.cluster, CLUSTER), ("user", chosen.user, USER)):
        for name in fields:
            if name not in known:
                raise chosen.bad(
                    f"the kubeconfig's {kind} has the field {name}, which leviathan does not support",
                    f"supported: {', '.join(sorted(known))}",
                    "remove the field, or choose another context: --set cluster.context=NAME",
                )
    return chosen


def impersonation(chosen: Chosen) -> Headers:
    """The headers of `as`, `as-uid`, `as-groups` and `as-user-extra`. Errors: ClusterError."""
    user = chosen.user
    extra = user.get("as-user-extra") or {}
    found = [("Impersonate-Uid", user["as-uid"])] if user.get("as-uid") else []
    found += [("Impersonate-Group", group) for group in user.get("as-groups") or []]
    found += [(f"Impersonate-Extra-{_key(name)}", value) for name in extra for value in extra[name] or []]
    if found and not user.get("as"):
        why = "as-uid, as-groups and as-user-extra need the user name in `as`"
        raise chosen.bad("the kubeconfig's user has no `as`", why, "add `as: USER`, or remove those fields")
    for name, value in (pairs := [*([("Impersonate-User", user["as"])] if user.get("as") else []), *found]):
        if not isinstance(value, str) or re.search(r"[\x00-\x1f\x7f]", value):
            raise chosen.bad(
                f"the kubeconfig's user has a value that cannot be sent in the header {name}",
                f"expected a string without line breaks, got {value!r:.80}",
                "correct as, as-uid, as-groups or as-user-extra",
            )
    return [(name, value.encode().decode("latin-1")) for name, value in pairs]  # Go sends UTF-8 as it is


def _key(name: str) -> str:
    """A name in as-user-extra as part of a header's name, with other characters percent-encoded."""
    plain = (each if each.isascii() and (each.isalnum() or each in TOKEN_SIGNS) else _escaped(each) for each in name)
    return "".join(plain)


def _escaped(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode())


def proxy_of(chosen: Chosen, server: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy to the API server: `proxy-url`, which ignores NO_PROXY, else the proxy from the environment.

    Errors: ClusterError.
    """
    try:
        if chosen.cluster.get("proxy-url"):
            return parse_proxy(str(chosen.cluster["proxy-url"]), "proxy-url")
        return proxy_for(server, environ)
    except ProxyRefused as refused:
        raise ClusterError(
            refused.what, where=refused.where, why=refused.why, remedy=refused.remedy, reason="BadProxy"
        ) from None


def proxy_headers(proxy: Proxy) -> dict[str, str]:
    """The headers with a proxy's user name and password."""
    login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    return {"proxy-authorization": f"Basic {login}"} if proxy.has_login else {}


class _Said(logging.Handler):
    """Collects the errors that a library logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextlib.contextmanager
def plugin_errors() -> Iterator[list[str]]:
    """Collect what the official client logs in this block. It reports failures of credential plugins only there."""
    root, said = logging.getLogger(), _Said()
    before, root.handlers = root.handlers, [said]
    try:
        yield said.texts
    finally:
        root.handlers = before


def plugin_failed(chosen: Chosen, said: Sequence[str]) -> ClusterError:
    """The error for a credential plugin that returned no credentials."""
    plugin = chosen.user["exec"]
    command = " ".join([str(plugin.get("command", "")), *map(str, plugin.get("args") or [])])
    hint = str(plugin.get("installHint") or "")
    return ClusterError(
        "the kubeconfig's credential plugin returned no credentials",
        where=f"exec: {command}",
        why=" ".join(said) or "it returned neither a token nor a certificate",
        remedy=hint or f"run it to see why: {command}",
        reason="BadKubeconfig",
    )


def checked_token(chosen: Chosen, header: str) -> str:
    """An Authorization header, with whitespace around the token removed.

    Errors: ClusterError, which does not show the token.
    """
    scheme, _, token = header.partition(" ")
    if not re.fullmatch(r"[\x21-\x7e]+", token.strip()):
        raise chosen.bad(
            "the kubeconfig's token cannot be sent",
            "it is empty, or has spaces, line breaks or characters that are not allowed in a header",
            "get a new kubeconfig (Talos: talosctl kubeconfig --force)",
        )
    return f"{scheme} {token.strip()}"
