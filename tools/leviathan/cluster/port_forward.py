"""A way to a pod's port through the API server, for a Service that has no address outside of the cluster.

Listens on a port of 127.0.0.1; each connection there becomes a port-forward of its own (Kubernetes API,
`pods/portforward` over a WebSocket). It takes the right to create pods/portforward.
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
    """The URL that leads to the pod while the block runs. Errors of `open_remote` close the connection that asked."""
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
    """The URL of the site's engine while the block runs: its own address, else a way through the API server.

    Arguments: `cluster`, called only for the latter. Errors: LeviathanError when there is no pod.
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
                f"no way to port {port} of the pod {pod} through the API server",
                where=namespace,
                why=" ".join(str(getattr(error, "reason", "") or error).split())[:200],
                remedy=f"{cluster.kubectl} -n {namespace} auth can-i create pods --subresource=portforward; or set "
                "service.url to an address that clients use",
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
    """Carry bytes both ways until one side ends."""
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
