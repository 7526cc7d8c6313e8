"""Forwards a local port to a pod through the API server, for a Service that has no address outside the cluster.

Listens on a port of 127.0.0.1. Each connection gets its own port-forward (Kubernetes API, `pods/portforward` over a
WebSocket). Needs the permission to create pods/portforward.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.engine_pod import find_pod
from leviathan.site.schema import Site

PIECE = 64 << 10
#: Opens one connection to the pod: a socket, or what behaves like one.
Open = Callable[[], Any]


@contextlib.contextmanager
def forwarded(open_remote: Open) -> Iterator[str]:
    """The local URL of the pod, valid while the block runs. A connection is closed if its `open_remote` fails."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(server, open_remote), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


@contextlib.contextmanager
def endpoint_of(site: Site, cluster: Callable[[], Cluster]) -> Iterator[str]:
    """The URL of the site's engine, valid while the block runs: its own address, else a port-forward.

    Arguments: `cluster`, called only for a port-forward. Errors: LeviathanError if there is no pod.
    """
    if site.endpoint:
        yield site.endpoint
        return
    api = cluster()
    name = str(find_pod(site, api)["metadata"]["name"])
    with forwarded(to_pod(api, site.cluster.namespace, name, site.engine.port)) as url:
        yield url


def to_pod(cluster: Cluster, namespace: str, pod: str, port: int) -> Open:
    """Opens connections to a port of a pod. Errors, when it is called: ClusterError."""

    def opened() -> Any:
        from kubernetes.client import (  # type: ignore[import-untyped]  # noqa: PLC0415 - half a second
            ApiException,
            CoreV1Api,
        )
        from kubernetes.stream import portforward  # type: ignore[import-untyped]  # noqa: PLC0415

        try:
            api = CoreV1Api(cluster.transport.api)
            found = portforward(api.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port))
        except (ApiException, OSError) as error:
            raise ClusterError(
                f"cannot forward port {port} of the pod {pod} through the API server",
                where=namespace,
                why=" ".join(str(getattr(error, "reason", "") or error).split())[:200],
                remedy="set service.url to the URL that clients use, or get the permission: "
                f"{cluster.kubectl} -n {namespace} auth can-i create pods --subresource=portforward",
            ) from None
        return found.socket(port)

    return opened


def _accept(server: socket.socket, open_remote: Open) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return  # closed
        threading.Thread(target=_serve, args=(client, open_remote), daemon=True).start()


def _serve(client: socket.socket, open_remote: Open) -> None:
    """Copy bytes in both directions until one side ends."""
    try:
        remote = open_remote()
    except ClusterError:
        client.close()
        return
    back = threading.Thread(target=_carry, args=(remote, client), daemon=True)
    back.start()
    _carry(client, remote)
    back.join()
    client.close()
    remote.close()


def _carry(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
