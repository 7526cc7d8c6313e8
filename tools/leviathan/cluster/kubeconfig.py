"""Finds the kubeconfig and the context, and makes the official client's ApiClient of them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from leviathan.cluster.errors import ClusterError
from leviathan.site.keys import nearest


def kubeconfig_paths(environ: Mapping[str, str]) -> list[Path]:
    """The files that there may be: those of $KUBECONFIG (separated as in $PATH), else ~/.kube/config."""
    named = [Path(each).expanduser() for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    return named or [Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"]


def open_client(context: str, environ: Mapping[str, str]) -> tuple[Any, str]:
    """The official client's ApiClient for a context, and the context's name; `context` empty is the current one.

    Errors: ClusterError with the reason NoKubeconfig, UnknownContext or BadKubeconfig.
    """
    paths = kubeconfig_paths(environ)
    where = ", ".join(map(str, paths))
    if not any(path.is_file() for path in paths):
        raise ClusterError(
            "there is no kubeconfig",
            where=where,
            remedy="set KUBECONFIG to the file (Talos: talosctl kubeconfig FILE writes one)",
            reason="NoKubeconfig",
        )
    from kubernetes import config  # type: ignore[import-untyped]  # noqa: PLC0415 - half a second
    from kubernetes.client import ApiClient, Configuration  # type: ignore[import-untyped]  # noqa: PLC0415

    files = os.pathsep.join(map(str, paths))
    try:
        known, current = _contexts(paths)
        name = context or current
        if name not in known:
            raise _no_context(name, known, where)
        settings = Configuration()
        settings.retries = False  # this package retries, and knows what may be sent twice
        config.load_kube_config(config_file=files, context=name, client_configuration=settings)
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            "the kubeconfig cannot be used",
            where=where,
            why=f"{type(error).__name__}: {error}",
            remedy=f"KUBECONFIG={files} kubectl config view --minify, and correct the file",
            reason="BadKubeconfig",
        ) from None
    return ApiClient(configuration=settings), name


def _contexts(paths: list[Path]) -> tuple[list[str], str]:
    """The names of the contexts of all files, and the current one: the first that a file names."""
    names: list[str] = []
    current = ""
    for path in (path for path in paths if path.is_file()):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"{path} is no kubeconfig")
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
