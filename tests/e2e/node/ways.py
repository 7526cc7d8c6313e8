"""A way out of a pod's network, for one port: what a cluster's masquerading is for a pod that downloads something."""

import contextlib
import socket
import threading

from .netns import Network

PIECE = 1 << 16


class Way:
    """PORT on the pod's own loopback leads to the same port on the node's, until `close`."""

    def __init__(self, network: Network, port: int) -> None:
        """Errors: OSError when the port cannot be had in there."""
        self._port = port
        self._listener = network.socket()
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True, name=f"way to {port}").start()

    def close(self) -> None:
        """No more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                outer = socket.create_connection(("127.0.0.1", self._port), 10)
            except OSError:
                inner.close()
                continue
            outer.settimeout(None)
            for pair in ((inner, outer), (outer, inner)):
                threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
