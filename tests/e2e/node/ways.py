"""A way out of a pod's network, for one port: what a cluster's masquerading is for a pod that downloads something."""

import contextlib
import socket
import threading

from socket_relay import relay

from .netns import Network


class Way:
    """PORT on the pod's own loopback leads to the same port on the node's, until `close`."""

    def __init__(self, network: Network, port: int) -> None:
        """Errors: OSError when the port cannot be had in there."""
        self._port = port
        self._listener = network.socket()
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(64)
        threading.Thread(target=relay, args=(self._listener, self._dial), daemon=True, name=f"way to {port}").start()

    def close(self) -> None:
        """No more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _dial(self) -> socket.socket:
        outer = socket.create_connection(("127.0.0.1", self._port), 10)
        outer.settimeout(None)
        return outer
