"""TCP options of the listener, which every accepted connection inherits, and what the kernel says of a connection."""

import resource
import socket
import struct

# A peer that answers nothing is asked this often before it is gone; together with TCP_USER_TIMEOUT a bound on silence.
PROBES = 3
# Bytes that the kernel buffers for a client at most; Linux would take up to 4 MiB each, which counts against the pod.
SEND_BUFFER = 256 << 10
# tcp_info.tcpi_bytes_acked of linux/tcp.h: bytes that the peer's kernel has confirmed (RFC 4898).
BYTES_ACKED = struct.Struct("=120xQ")
# The loop accepts so many connections before it does anything else; more wait in the kernel, up to its own bound.
ACCEPTED_AT_ONCE = 16
KERNEL_BACKLOG = 2048
# Descriptors that are not connections: the engine's socket, the log, the tokenizer's files; and connections that have
# been accepted and wait for a few turns of the loop until others are closed for them.
OTHER_FILES = 32 + 6 * ACCEPTED_AT_ONCE


def watch_peers(listener: socket.socket, seconds: float) -> None:
    """A client that has gone without a FIN is noticed within about `seconds`, also while nothing is sent to it."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        socket.TCP_USER_TIMEOUT: int(seconds * 1000),
        socket.TCP_KEEPIDLE: max(1, int(seconds)),
        socket.TCP_KEEPINTVL: max(1, int(seconds / PROBES)),
        socket.TCP_KEEPCNT: PROBES,
    }
    for option, value in options.items():
        listener.setsockopt(socket.IPPROTO_TCP, option, value)


def bytes_taken(connection: socket.socket) -> int:
    """Bytes of what was sent that the peer's kernel has confirmed. Errors: OSError."""
    return int(BYTES_ACKED.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED.size))[0])


def open_files() -> int:
    """Raises the limit of open files to the hard limit, and says what it is now."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def most_connections(wanted: int, files: int) -> int:
    """How many connections there may be: `wanted`, or what `files` descriptors leave, RLIM_INFINITY without end."""
    return wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, files - OTHER_FILES))
