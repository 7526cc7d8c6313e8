"""Reads the model's files through a pod on the node, with read-only commands in it (find, stat, sha256sum).

Source: Kubernetes API, `pods/exec` over a WebSocket with the subprotocol v4.channel.k8s.io (channel 1 stdout, 2 stderr,
3 the ending as a Status object).
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.client import Cluster
from leviathan.model.downloaded import ModelError
from leviathan.model.pod import State, see
from leviathan.site.schema import Site

#: `$1` is the folder. Links are followed, as the engine follows them.
LIST = 'cd "$1" && exec find -L . -type f -exec stat -L -c "%s %n" {} +'
#: `$1` is the folder, the names follow.
HASH = 'cd "$1" && shift && exec sha256sum -- "$@"'
LISTED = re.compile(r"(\d+) \./(.+)")
HASHED = re.compile(r"\\?([0-9a-f]{64}) [ *](.+)")
HANDSHAKE = re.compile(r"Handshake status (\d+)")
#: Seconds without output after which a command is given up. Hashing a large file runs at about 200 MB/s.
LIST_S, HASH_S = 60.0, 1800.0
ENGINE = "engine"
#: Maximum bytes of a command's output. A list of 100,000 files needs a tenth of it.
MOST = 64 << 20
STDOUT, STDERR, ENDING = 1, 2, 3


@dataclass(frozen=True)
class FileProbe:
    """A running container that has the model's disk, and where."""

    namespace: str
    pod: str
    container: str
    folder: str

    @property
    def where(self) -> str:
        """The place in words."""
        return f"{self.folder} in {self.namespace}/{self.pod}"


def find_probe(cluster: Cluster, site: Site) -> FileProbe:
    """The download's pod if it runs, else a running pod of the engine. Errors: ModelError if neither runs."""
    space = site.model.pod_namespace or site.cluster.namespace
    seen = see(cluster.get(f"/api/v1/namespaces/{space}/pods/{site.model.pod}"))
    if seen.state is State.RUNNING:
        return FileProbe(space, site.model.pod, seen.container, site.model.folder or site.engine.model_path)
    space = site.cluster.namespace
    for pod in cluster.list(f"/api/v1/namespaces/{space}/pods", labelSelector=f"app={site.workload.app}"):
        if see(pod).state is State.RUNNING:
            return FileProbe(space, pod["metadata"]["name"], ENGINE, site.engine.model_path)
    raise ModelError(
        "there is no running pod to read the model's files with",
        why=f"the pod {site.model.pod} is {seen.state.value}, and no engine runs",
        remedy="name a running pod that mounts the disk (--set model.pod=NAME --set model.folder=FOLDER), "
        "or a local folder (--folder), or skip the comparison (--set model.manifest=)",
    )


def remote_sizes(cluster: Cluster, probe: FileProbe) -> dict[str, int]:
    """All files below the folder: name with slashes → bytes. Errors: ModelError, ClusterError."""
    found: dict[str, int] = {}
    for line in run_in(cluster, probe, ["sh", "-c", LIST, "sh", probe.folder], quiet_s=LIST_S):
        match = LISTED.fullmatch(line)
        if match is None:
            raise ModelError(
                "cannot read the list of files", where=probe.where, why=f"expected a size and a name, got {line!r:.120}"
            )
        found[match[2]] = int(match[1])
    return found


def remote_hashes(
    cluster: Cluster, probe: FileProbe, names: Sequence[str], done: Callable[[str], None]
) -> dict[str, str]:
    """SHA-256 in hex of the named files; `done` is called with each name. Errors: ModelError, ClusterError."""
    found: dict[str, str] = {}
    for name in names:
        for line in run_in(cluster, probe, ["sh", "-c", HASH, "sh", probe.folder, name], quiet_s=HASH_S):
            match = HASHED.fullmatch(line)
            if match is None:
                raise ModelError(
                    "cannot read the hash", where=probe.where, why=f"expected a hash and a name, got {line!r:.120}"
                )
            found[name] = match[1]
        done(name)
    return found


def run_in(cluster: Cluster, probe: FileProbe, command: Sequence[str], *, quiet_s: float) -> list[str]:
    """Run `command` in the container, and return the lines that it prints.

    Errors: ModelError if it may not be run there, fails, or prints nothing for `quiet_s` seconds.
    """
    socket = _open(cluster, probe, command)
    try:
        out, err, status = _drain(socket, probe, quiet_s)
    finally:
        socket.close()
    if status.get("status") != "Success":
        said = (
            " ".join(err.decode("utf-8", "replace").split()) or str(status.get("message", "")) or "the connection broke"
        )
        raise ModelError(
            "the model's files cannot be listed in the pod",
            where=probe.where,
            why=said[:300],
            remedy="correct the folder (--set model.folder=FOLDER; the container needs sh, find and stat), "
            "or name another pod (--set model.pod=NAME)",
        )
    return out.decode("utf-8", "surrogateescape").splitlines()


def _open(cluster: Cluster, probe: FileProbe, command: Sequence[str]) -> Any:
    import websocket  # noqa: PLC0415 - only here
    from kubernetes.client import (  # type: ignore[import-untyped]  # noqa: PLC0415 - half a second
        ApiException,
        CoreV1Api,
    )
    from kubernetes.stream import stream  # type: ignore[import-untyped]  # noqa: PLC0415

    if getattr(cluster.transport.api, "impersonates", ()):
        raise ModelError(
            "cannot run a command in the pod as another user",
            where=probe.where,
            why="the kubeconfig's user has `as`, which the Kubernetes client does not send with commands",
            remedy="use a local folder (--folder), or a context without `as`",
        )
    websocket.setdefaulttimeout(LIST_S)  # the client offers no other way to limit the handshake's time
    try:
        return stream(
            CoreV1Api(cluster.transport.api).connect_get_namespaced_pod_exec,
            probe.pod,
            probe.namespace,
            container=probe.container,
            command=list(command),
            stdin=False,
            stdout=True,
            stderr=True,
            tty=False,
            binary=True,
            _preload_content=False,
        )
    except ApiException as error:
        why = " ".join(str(error.reason).split())
        status = HANDSHAKE.search(why)
        kubectl = cluster.kubectl
        denied = status is not None and status[1] in ("401", "403")
        raise ModelError(
            f"forbidden: this kubeconfig may not exec into pods in {probe.namespace}"
            if denied
            else "cannot run a command in the pod",
            where=probe.where,
            why=why[:300],
            remedy=f"compare a local folder with --folder; or get the permission: {kubectl} -n {probe.namespace} "
            "auth can-i get pods --subresource=exec",
        ) from None


def _drain(socket: Any, probe: FileProbe, quiet_s: float) -> tuple[bytes, bytes, dict[str, Any]]:
    """The command's stdout and stderr, and its final Status object."""
    out, err, end = b"", b"", b""
    heard = time.monotonic()
    while True:
        socket.update(timeout=1)
        pieces = [socket.read_channel(number) or b"" for number in (STDOUT, STDERR, ENDING)]
        out, err, end = out + pieces[0], err + pieces[1], end + pieces[2]
        if len(out) + len(err) + len(end) > MOST:
            raise ModelError(f"the pod sent more than {MOST >> 20} MiB", where=probe.where, remedy="use --folder")
        if any(pieces):
            heard = time.monotonic()
        elif not socket.is_open():
            status = _json(end)
            return out, err, status if isinstance(status, dict) else {}
        elif time.monotonic() - heard > quiet_s:
            raise ModelError(
                f"the pod sent nothing for {quiet_s:g} s", where=probe.where, remedy="run the command again"
            )


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
