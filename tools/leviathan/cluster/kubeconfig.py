"""Finds the kubeconfig and the context, and creates the official client's ApiClient from them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from leviathan.cluster import kubeconfig_fields as fields
from leviathan.cluster.bounds import bound
from leviathan.cluster.errors import ClusterError
from leviathan.cluster.kubeconfig_fields import Chosen, Headers
from leviathan.proxies import Proxy
from leviathan.site.keys import nearest

#: Where k3s and kubeadm write the administrator's kubeconfig on a control-plane node.
NODES = (Path("/etc/rancher/k3s/k3s.yaml"), Path("/etc/kubernetes/admin.conf"))


def kubeconfig_paths(environ: Mapping[str, str]) -> list[Path]:
    """The kubeconfig files to try: those in $KUBECONFIG (separated as in $PATH), else ~/.kube/config."""
    named = [Path(each).expanduser() for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    return named or [Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"]


@dataclass(frozen=True)
class Opened:
    """An opened context: the official client's ApiClient, the context's name, the proxy (or None), and warnings."""

    api: Any
    context: str
    proxy: Proxy | None
    warnings: tuple[str, ...]


def _where_one_is() -> str:
    """How to get a kubeconfig. k3s and kubeadm write one on the node, which may be this machine."""
    here = next((path for path in NODES if path.exists()), None)
    if here is not None:
        return f"export KUBECONFIG={here}"
    k3s, kubeadm = NODES
    return f"set KUBECONFIG to the file (k3s: {k3s}, kubeadm: {kubeadm}, Talos: talosctl kubeconfig FILE writes one)"


def open_client(context: str, environ: Mapping[str, str]) -> Opened:
    """The official client for a context; an empty `context` means the current one. Reads all fields as kubectl does.

    Errors: ClusterError with the reason NoKubeconfig, UnknownContext, BadKubeconfig or BadProxy.
    """
    paths = kubeconfig_paths(environ)
    where = ", ".join(map(str, paths))
    if not any(path.is_file() for path in paths):
        raise ClusterError(
            "no kubeconfig found",
            where=where,
            remedy=_where_one_is(),
            reason="NoKubeconfig",
        )
    from kubernetes import config  # type: ignore[import-untyped]  # noqa: PLC0415 - half a second
    from kubernetes.client import ApiClient, Configuration  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        paths = fields.filled(paths)
        files = os.pathsep.join(map(str, paths))
        known, current = _contexts(paths)
        name = context or current
        if name not in known:
            raise _no_context(name, known, where)
        chosen = fields.choose(paths, name)
        settings = Configuration()
        settings.retries = False  # this package retries itself: it knows which requests may be sent twice
        with fields.plugin_errors() as said:
            config.load_kube_config(config_file=files, context=name, client_configuration=settings)
        _settle_credentials(settings, chosen, said)
        headers = fields.impersonation(chosen)
        proxy = fields.proxy_of(chosen, settings.host, environ)
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            "the kubeconfig is invalid",
            where=where,
            why=f"{type(error).__name__}: {error}",
            remedy=f"correct the file; to check it: KUBECONFIG={where.replace(', ', os.pathsep)} "
            "kubectl config view --minify",
            reason="BadKubeconfig",
        ) from None
    _settle_proxy(settings, proxy)
    api = ApiClient(configuration=settings)
    bound(api)
    _send_with(api, headers)
    return Opened(api, name, proxy, () if settings.verify_ssl else (_unverified(settings.host),))


def _settle_credentials(settings: Any, chosen: Chosen, said: Sequence[str]) -> None:
    """Check that the token fits into a header, now and after each renewal by a plugin. Send no token over plain HTTP.

    Errors: ClusterError, also if a plugin gave no credentials: the requests would otherwise be anonymous.
    """
    if not str(settings.host).startswith("https:"):  # as kubectl does
        settings.api_key.clear()
        settings.refresh_api_key_hook = None
        return
    if chosen.user.get("exec") and (said or not (settings.api_key or settings.cert_file)):
        raise fields.plugin_failed(chosen, said)
    renew = settings.refresh_api_key_hook

    def renewed(each: Any) -> None:
        with fields.plugin_errors() as heard:
            renew(each)
        each.refresh_api_key_hook = renewed  # it has put itself there
        if heard and chosen.user.get("exec"):
            raise fields.plugin_failed(chosen, heard)
        each.api_key["authorization"] = fields.checked_token(chosen, each.api_key["authorization"])

    if "authorization" in settings.api_key:
        settings.api_key["authorization"] = fields.checked_token(chosen, settings.api_key["authorization"])
        settings.refresh_api_key_hook = renewed


def _settle_proxy(settings: Any, proxy: Proxy | None) -> None:
    """Make the official client and its WebSocket use this proxy or none, regardless of the environment."""
    settings.proxy = proxy.address if proxy is not None else None
    settings.no_proxy = "-" if proxy is not None else "*"  # a name that no host has; every host
    # Not empty, so that the WebSocket reads `no_proxy` (`websocket_proxycare` of kubernetes.stream).
    settings.proxy_headers = {"user-agent": "leviathan", **(fields.proxy_headers(proxy) if proxy is not None else {})}


def _send_with(api: Any, headers: Headers) -> None:
    """Add `headers` to every request. ApiClient's default headers cannot hold the same name twice."""
    from urllib3 import HTTPHeaderDict  # noqa: PLC0415 - slow to import, as the client

    if not headers:
        return
    api.impersonates = tuple(headers)  # the WebSocket has no way to send them: see model.remote
    pool = api.rest_client.pool_manager
    request = pool.request

    def with_headers(method: str, url: str, *args: Any, headers: Any = None, **more: Any) -> Any:
        return request(
            method, url, *args, headers=HTTPHeaderDict([*(headers or {}).items(), *api.impersonates]), **more
        )

    pool.request = with_headers


def _unverified(server: str) -> str:
    """The warning for insecure-skip-tls-verify, instead of urllib3's warning per request."""
    import urllib3  # noqa: PLC0415 - slow to import, as the client

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return (
        f"the kubeconfig sets insecure-skip-tls-verify, so anyone on the network path to {server} can read and change "
        "requests; use certificate-authority instead"
    )


def _contexts(paths: list[Path]) -> tuple[list[str], str]:
    """The names of the contexts in all files, and the current context: that of the first file that sets one."""
    names: list[str] = []
    current = ""
    for path in (path for path in paths if path.is_file()):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"{path} is not a kubeconfig")
        names += [each["name"] for each in content.get("contexts") or []]
        current = current or content.get("current-context") or ""
    return names, current


def _no_context(name: str, known: list[str], where: str) -> ClusterError:
    near = nearest(name, known)
    listed = ", ".join(known) or "none"
    return ClusterError(
        f"the kubeconfig has no context {name}" if name else "the kubeconfig has no current context",
        where=where,
        why=f"it has: {listed}{f' (nearest: {near})' if near else ''}",
        remedy="choose one with --set cluster.context=NAME, or kubectl config use-context NAME",
        reason="UnknownContext",
    )
