"""Carries bytes both ways between each connection that comes and one that is dialled for it."""

import contextlib
import socket
import threading
from collections.abc import Callable

PIECE = 1 << 16


def relay(listener: socket.socket, dial: Callable[[], socket.socket]) -> None:
    """Until the listener is closed; a connection whose other end cannot be dialled (OSError) is closed."""
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        try:
            far = dial()
        except OSError:
            near.close()
            continue
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=_carry, args=(one, other), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
