"""Registers all connections of the front, and limits their number, the number per address, and idle times.

A limit never refuses a new connection. It closes the one that has waited longest for its client: for the head of a
request, the rest of a body, or the next request. A connection with a complete request is never closed for another one.
So clients that only hold connections lose them, while other clients, and probes of /health, can always connect.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

SWEEP_SECONDS = 1.0
# Prefix of an IPv6 address: a client with one address has its whole /64.
IPV6_PREFIX = 64


@dataclass(frozen=True)
class Bounds:
    """Maximum number of `connections`, and of connections `per_address`.

    `head_seconds` is the time limit for the first byte, for the head of a request, and for the rest of an ignored body.
    In every `client_seconds` a client must read `LEAST_BYTES` of what is sent to it.
    """

    connections: int = 1024
    per_address: int = 512
    head_seconds: float = 10.0
    client_seconds: float = 30.0


def bounds(connections: int, client_seconds: float) -> Bounds:
    """Returns the bounds for a number of connections; one address may have half of them."""
    half = max(1, connections // 2)
    return Bounds(connections, half, min(Bounds.head_seconds, client_seconds), client_seconds)


class Connection(Protocol):
    """A connection, as the registry uses it."""

    address: str

    def overdue(self, now: float) -> bool:
        """Whether a deadline of its client has passed."""

    def abort(self) -> None:
        """Closes it at once; what is unsent is lost."""


class Connections:
    """The registry. Times in seconds of `clock`."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self.clock = clock
        self.closed = {"full": 0, "overdue": 0}
        self._all: dict[Connection, None] = {}
        self._count: dict[str, int] = {}
        # Connections that wait for their client, by address; the one that has waited longest is first.
        self._waiting: dict[str, OrderedDict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def opened(self, connection: Connection) -> None:
        """Adds a new connection, which waits for its client; closes others if there are too many."""
        address = connection.address
        self._all[connection] = None
        self._count[address] = self._count.get(address, 0) + 1
        self.waits(connection)
        if self._count[address] > self.bounds.per_address:
            self._make_room(address)
        elif len(self._all) > self.bounds.connections:
            # Closes one of the address with the most connections, so that a client loses its own before others do.
            self._make_room(max(self._waiting, key=lambda one: self._count[one]))

    def gone(self, connection: Connection) -> None:
        """Removes a closed connection."""
        if connection not in self._all:
            return
        self.works(connection)
        del self._all[connection]
        self._count[connection.address] -= 1
        if not self._count[connection.address]:
            del self._count[connection.address]

    def waits(self, connection: Connection) -> None:
        """Marks that it waits for its client; keeps the time if it already does."""
        if connection in self._all:
            self._waiting.setdefault(connection.address, OrderedDict()).setdefault(connection)

    def works(self, connection: Connection) -> None:
        """Marks that its request is complete, so that it waits for the server."""
        waiting = self._waiting.get(connection.address)
        if waiting is not None and connection in waiting:
            del waiting[connection]
            if not waiting:
                del self._waiting[connection.address]

    def sweep(self) -> None:
        """Closes connections whose deadline has passed."""
        now = self.clock()
        for connection in [one for one in self._all if one.overdue(now)]:
            self.closed["overdue"] += 1
            connection.abort()

    async def watch(self) -> None:
        """Sweeps at intervals until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def _make_room(self, address: str) -> None:
        """Closes the connection of `address` that has waited longest, which may be the new one."""
        victim = next(iter(self._waiting[address]))
        self.closed["full"] += 1
        self.gone(victim)
        victim.abort()


@lru_cache(4096)
def address_group(host: str) -> str:
    """Returns what identifies a client: its IPv4 address (also mapped to IPv6), or the /64 of its IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return str(address)
