"""A pod's network: a network namespace of its own with loopback up and the pod's address on it.

Nothing of it shows in the host's network: no bridge, no rule, no address that could be left behind. Who wants to talk
to the pod (a probe, the NodePort proxy) takes a socket that was made inside the namespace; a socket stays where it was
made. So two pods may listen on the same port, and a pod's port never collides with a NodePort of the same number.
"""

import concurrent.futures
import fcntl
import os
import queue
import socket
import struct
import threading
from pathlib import Path
from typing import Protocol

from . import kernel

_SIOCSIFADDR, _SIOCSIFFLAGS, _SIOCGIFFLAGS = 0x8916, 0x8914, 0x8913
_IFF_UP = 1


class Network(Protocol):
    """Where a pod's processes have their sockets."""

    address: str

    def socket(self) -> socket.socket:
        """A new TCP socket in there."""

    def descriptor(self) -> int | None:
        """The namespace's file descriptor, None for the host's."""

    def close(self) -> None:
        """Release it."""


class HostNetwork:
    """The network of a pod with `hostNetwork: true`: the node's own."""

    def __init__(self, address: str) -> None:
        """`address`: the node's."""
        self.address = address

    def socket(self) -> socket.socket:
        """A new TCP socket."""
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def descriptor(self) -> int | None:
        """None: nothing to enter."""
        return None

    def close(self) -> None:
        """Nothing to do."""


class PodNetwork:
    """A new network namespace; it lives as long as this object is open or a process is in it."""

    def __init__(self, address: str) -> None:
        """`address`: the pod's IPv4 address. Errors: OSError where network namespaces cannot be made."""
        self.address = address
        self._work: queue.Queue[concurrent.futures.Future[socket.socket] | None] = queue.Queue()
        ready: concurrent.futures.Future[int] = concurrent.futures.Future()
        # setns and unshare hold for one thread, so one thread lives in there.
        self._thread = threading.Thread(target=self._live, args=(ready,), daemon=True, name=f"netns {address}")
        self._thread.start()
        self._descriptor = ready.result(10)

    def socket(self) -> socket.socket:
        """A new TCP socket in the namespace. Errors: OSError, also when it is closed."""
        if not self._thread.is_alive():
            raise OSError(f"the network of {self.address} is closed")
        answer: concurrent.futures.Future[socket.socket] = concurrent.futures.Future()
        self._work.put(answer)
        return answer.result(10)

    def descriptor(self) -> int | None:
        """The namespace, for setns."""
        return self._descriptor

    def close(self) -> None:
        """No more sockets from here."""
        self._work.put(None)
        self._thread.join(5)
        os.close(self._descriptor)

    def _live(self, ready: concurrent.futures.Future[int]) -> None:
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                _up(control, "lo")
                _address(control, "lo:0", self.address)
            ready.set_result(os.open(Path("/proc/thread-self/ns/net"), os.O_RDONLY | os.O_CLOEXEC))
        except OSError as err:
            ready.set_exception(err)
            return
        while (wanted := self._work.get()) is not None:
            try:
                wanted.set_result(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            except OSError as err:
                wanted.set_exception(err)


def _up(control: socket.socket, name: str) -> None:
    request = struct.pack("16sh14x", name.encode(), 0)
    flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags | _IFF_UP))


def _address(control: socket.socket, name: str, address: str) -> None:
    place = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
    fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("16s16s", name.encode(), place))
