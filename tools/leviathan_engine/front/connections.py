"""All connections of the front and their bounds: how many, how many of one address, how long each may stand still.

A bound never refuses a newcomer: it closes the connection that has waited longest for its client, be it for a request's
head, the rest of its body, or the next request. A client whose request is complete is never closed for another. So
clients that only hold connections lose them, and an honest client, or a probe of /health, gets in at once.
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
# Of an IPv6 address: who has one has all of its /64.
IPV6_PREFIX = 64


@dataclass(frozen=True)
class Bounds:
    """`connections` in all, `per_address` of one address.

    `head_seconds` for the first byte, for a request's head, and for the rest of a body that nobody reads;
    `client_seconds` in which a client must take `LEAST_BYTES` of what is sent to it.
    """

    connections: int = 1024
    per_address: int = 512
    head_seconds: float = 10.0
    client_seconds: float = 30.0


def bounds(connections: int, client_seconds: float) -> Bounds:
    """The bounds for so many connections; one address may have half of them."""
    half = max(1, connections // 2)
    return Bounds(connections, half, min(Bounds.head_seconds, client_seconds), client_seconds)


class Connection(Protocol):
    """What the registry knows of a connection."""

    address: str

    def overdue(self, now: float) -> bool:
        """Whether its client has been waited for too long."""

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
        # By address, those that wait for their client; who has waited longest comes first.
        self._waiting: dict[str, OrderedDict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def opened(self, connection: Connection) -> None:
        """A new connection, which waits for its client; others are closed when there are too many."""
        address = connection.address
        self._all[connection] = None
        self._count[address] = self._count.get(address, 0) + 1
        self.waits(connection)
        if self._count[address] > self.bounds.per_address:
            self._make_room(address)
        elif len(self._all) > self.bounds.connections:
            # Of the address with the most connections, so that one client loses its own before those of others.
            self._make_room(max(self._waiting, key=lambda one: self._count[one]))

    def gone(self, connection: Connection) -> None:
        """The connection is closed."""
        if connection not in self._all:
            return
        self.works(connection)
        del self._all[connection]
        self._count[connection.address] -= 1
        if not self._count[connection.address]:
            del self._count[connection.address]

    def waits(self, connection: Connection) -> None:
        """It waits for its client from now on; if it did already, since then."""
        if connection in self._all:
            self._waiting.setdefault(connection.address, OrderedDict()).setdefault(connection)

    def works(self, connection: Connection) -> None:
        """Its request is complete: from now on it waits for us."""
        waiting = self._waiting.get(connection.address)
        if waiting is not None and connection in waiting:
            del waiting[connection]
            if not waiting:
                del self._waiting[connection.address]

    def sweep(self) -> None:
        """Closes those that have been waited for too long."""
        now = self.clock()
        for connection in [one for one in self._all if one.overdue(now)]:
            self.closed["overdue"] += 1
            connection.abort()

    async def watch(self) -> None:
        """Sweeps until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def _make_room(self, address: str) -> None:
        """Closes the connection of `address` that has waited longest: at the latest the new one, which waits too."""
        victim = next(iter(self._waiting[address]))
        self.closed["full"] += 1
        self.gone(victim)
        victim.abort()


@lru_cache(4096)
def address_group(host: str) -> str:
    """Whose address it is: IPv4 as it is, also as part of IPv6; of IPv6 the network that one machine has for itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return str(address)
