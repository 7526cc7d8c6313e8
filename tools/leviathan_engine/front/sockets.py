"""Sets TCP options of the listener, which accepted connections inherit, and reads the kernel's data of connections."""

import resource
import socket
import struct

# Number of unanswered keep-alive probes after which a peer counts as gone, in addition to TCP_USER_TIMEOUT.
PROBES = 3
# Maximum bytes that the kernel buffers per client; Linux would use up to 4 MiB each, which counts as the pod's memory.
SEND_BUFFER = 256 << 10
# tcp_info.tcpi_bytes_acked of linux/tcp.h: bytes that the peer's kernel has acknowledged (RFC 4898).
BYTES_ACKED = struct.Struct("=120xQ")
# The event loop accepts this many connections before it does anything else; more wait in the kernel, up to its limit.
ACCEPTED_AT_ONCE = 16
KERNEL_BACKLOG = 2048
# Descriptors that are not registered connections: the worker's socket, the log, the tokenizer's files, and accepted
# connections that wait until others are closed for them.
OTHER_FILES = 32 + 6 * ACCEPTED_AT_ONCE


def watch_peers(listener: socket.socket, seconds: float) -> None:
    """Makes the kernel notice a client that is gone without a FIN within about `seconds`, even if nothing is sent."""
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
    """Returns the number of sent bytes that the peer's kernel has acknowledged. Errors: OSError."""
    return int(BYTES_ACKED.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED.size))[0])


def open_files() -> int:
    """Raises the limit of open files to the hard limit; returns the limit."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def most_connections(wanted: int, files: int) -> int:
    """Returns the maximum number of connections: `wanted`, or what `files` descriptors (or RLIM_INFINITY) allow."""
    return wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, files - OTHER_FILES))
