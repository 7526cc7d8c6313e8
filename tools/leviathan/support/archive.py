"""Writes the support archive: what a person who helps asks for, with a list of contents and without secrets."""

import io
import json
import platform
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from leviathan import __version__
from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.objects import name_of
from leviathan.errors import LeviathanError
from leviathan.preflight.preflight_phase import run as preflight
from leviathan.rollout.deployment_status import run as status
from leviathan.rollout.engine_log import read
from leviathan.rollout.observe.health import proxied
from leviathan.rollout.observe.reader import collections
from leviathan.site.load import Loaded
from leviathan.site.schema import Site
from leviathan.support.probe import read_node
from leviathan.terminal.output import Console

LOG_LINES = 5000
ABOUT = {
    "versions.json": "versions of the tool, Python, and the cluster",
    "site.json": "the site's values and where each comes from; it names Secrets, and holds none",
    "preflight.json": "what preflight finds",
    "status.json": "what runs, and what is in the way",
    "objects.json": "Deployment, ReplicaSets, pods, Service, events and node, as the API has them",
    "engine.log": f"the last {LOG_LINES} lines of the engine's log",
    "engine-before.log": "the log of the run before the last restart, where there was one",
    "metrics.txt": "the engine's metrics",
    "node.json": "governor, pages, NUMA, driver, cards and kernel lines, read through the engine's pod",
}
#: Fields of objects that are long and say nothing.
DROPPED = ("managedFields",)


def collect(
    loaded: Loaded, cluster: Callable[[], Cluster], environ: Mapping[str, str], console: Console
) -> dict[str, str]:
    """The archive's files: name → text. What cannot be had says why in its place, and nothing is raised for it."""
    site = loaded.site

    def plain(content: Any) -> str:
        return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"

    def log(*, previous: bool) -> str:
        return "\n".join(read(site, cluster(), previous=previous, tail=LOG_LINES)[1]) + "\n"

    def metrics() -> str:
        pod = read(site, cluster(), previous=False, tail=1)[0]
        return metrics_of(site, cluster(), name_of(pod))

    makers: dict[str, Callable[[], str]] = {
        "versions.json": lambda: plain(
            {"leviathan": __version__, "python": platform.python_version(), "system": platform.platform()}
            | {"cluster": cluster().version()}
        ),
        "site.json": lambda: plain({"site": loaded.values(), "origins": dict(loaded.origins)}),
        "preflight.json": lambda: plain(preflight(site, environ, console, connecting=cluster).data()),
        "status.json": lambda: plain(status(site, cluster()).data()),
        "objects.json": lambda: plain(objects(site, cluster())),
        "engine.log": lambda: log(previous=False),
        "engine-before.log": lambda: log(previous=True),
        "metrics.txt": metrics,
        "node.json": lambda: plain(read_node(site, cluster())),
    }
    found = {}
    for name, make in makers.items():
        console.status(f"support: {name}")
        try:
            found[name] = make()
        except LeviathanError as error:
            found[name] = f"not to be had: {error.line() if hasattr(error, 'line') else error}\n"
    console.clear()
    return found


def metrics_of(site: Site, cluster: Cluster, pod: str) -> str:
    """What the pod answers to /metrics. Errors: LeviathanError when it, or something on the way, answers otherwise."""
    status, body, why = proxied(cluster, site, pod, "/metrics")
    text = body.decode("utf-8", "replace")
    if status == 200:
        return text
    endpoint = site.endpoint or "the endpoint"
    raise LeviathanError(
        "no metrics", where=pod, why=why or f"{status}: {text[:200]}", remedy=f"curl {endpoint}/metrics"
    )


def objects(site: Site, cluster: Cluster) -> dict[str, Any]:
    """The objects of the rollout by kind, without the fields that say nothing; why not, where they may not be read."""
    found: dict[str, Any] = {}
    for kind, (path, query) in collections(site).items():
        try:
            found[kind] = [_short(each) for each in cluster.list(path, **query)]
        except ClusterError as error:
            found[kind] = error.line()
    return found


def write(path: Path, files: Mapping[str, str], now: float | None = None) -> None:
    """Write the archive (tar, gzip), readable by its owner alone, with README.txt first. Errors: OSError."""
    when = int(time.time() if now is None else now)
    about = "".join(f"{name}: {ABOUT.get(name, '')}\n" for name in files)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {"README.txt": about, **files}.items():
            data = text.encode("utf-8", "replace")
            info = tarfile.TarInfo(f"leviathan-support/{name}")
            info.size, info.mtime, info.mode = len(data), when, 0o600
            archive.addfile(info, io.BytesIO(data))
    path.chmod(0o600)


def _short(each: dict[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in each["metadata"].items() if key not in DROPPED}
    return {**each, "metadata": meta}
