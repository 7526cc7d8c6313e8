"""NodePorts: a listener on the node for each, passed on to the Service's ready pods; what kube-proxy's rules do.

As with kube-proxy, a NodePort without a ready endpoint refuses connections, and connections that are open stay.
"""

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .api import Api, Mirror
from .netns import Network

Json = dict[str, Any]
PIECE = 1 << 16


@dataclass
class _Port:
    """One listener."""

    server: asyncio.Server
    targets: list[tuple[str, int]]
    turn: Iterator[int] = field(default_factory=itertools.count)


class Proxy(threading.Thread):
    """All NodePorts of the cluster, on one address of the node."""

    def __init__(self, api: Api, address: str, networks: dict[str, Network], talk: Callable[[str], None]) -> None:
        """`networks`: the node's pods by their address, kept up to date by others."""
        super().__init__(daemon=True, name="node ports")
        self._address, self._networks, self._talk = address, networks, talk
        self._services: dict[str, Json] = {}
        self._slices: dict[str, Json] = {}
        self._ports: dict[int, _Port] = {}
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._mirrors = [
            Mirror(api, "/api/v1/services", lambda o, alive: self._keep(self._services, o, alive), talk),
            Mirror(
                api,
                "/apis/discovery.k8s.io/v1/endpointslices",
                lambda o, alive: self._keep(self._slices, o, alive),
                talk,
            ),
        ]

    def run(self) -> None:
        """Until `stop`."""
        for mirror in self._mirrors:
            mirror.start()
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._work())

    def stop(self) -> None:
        """Close all listeners and connections."""
        for mirror in self._mirrors:
            mirror.stop()
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(self._loop)])
        self.join(5)

    def _keep(self, table: dict[str, Json], item: Json, alive: bool) -> None:
        def change() -> None:
            if alive:
                table[item["metadata"]["uid"]] = item
            else:
                table.pop(item["metadata"]["uid"], None)
            self._changed.set()

        self._loop.call_soon_threadsafe(change)

    async def _work(self) -> None:
        try:
            while True:
                await self._arrange()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 2)
                self._changed.clear()
        finally:
            for port in self._ports.values():
                port.server.close()

    async def _arrange(self) -> None:
        wanted = wanted_ports(list(self._services.values()), list(self._slices.values()))
        for number in set(self._ports) - set(wanted):
            self._ports.pop(number).server.close()
        for number, targets in wanted.items():
            if number in self._ports:
                self._ports[number].targets = targets
                continue
            try:
                server = await asyncio.start_server(partial(self._accept, number), self._address, number)
            except OSError as err:
                self._talk(f"NodePort {number} cannot be opened: {err}; trying again")
                continue
            self._ports[number] = _Port(server, targets)

    async def _accept(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self._ports.get(number)
        try:
            if port is None:
                return
            address, target = port.targets[next(port.turn) % len(port.targets)]
            inner = await self._connect(address, target)
            if inner is None:
                return
            other_reader, other_writer = await asyncio.open_connection(sock=inner)
            try:
                await asyncio.gather(_relay(reader, other_writer), _relay(other_reader, writer))
            finally:
                other_writer.close()
        except OSError:
            return  # one of the two is gone
        finally:
            writer.close()

    async def _connect(self, address: str, port: int) -> socket.socket | None:
        network = self._networks.get(address)
        if network is None:
            return None
        inner = await asyncio.to_thread(network.socket)
        inner.setblocking(False)
        try:
            await asyncio.wait_for(self._loop.sock_connect(inner, (address, port)), 10)
        except (OSError, TimeoutError):
            inner.close()
            return None
        return inner


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


def wanted_ports(services: list[Json], slices: list[Json]) -> dict[int, list[tuple[str, int]]]:
    """NodePort → (pod address, port) of the ready endpoints; NodePorts without one are left out."""
    out: dict[int, list[tuple[str, int]]] = {}
    for service in services:
        meta = service["metadata"]
        mine = [
            s
            for s in slices
            if s["metadata"]["namespace"] == meta["namespace"]
            and s["metadata"].get("labels", {}).get("kubernetes.io/service-name") == meta["name"]
        ]
        for port in service["spec"].get("ports") or []:
            if not port.get("nodePort") or port.get("protocol", "TCP") != "TCP":
                continue
            targets = [
                (address, one["port"])
                for s in mine
                for one in s.get("ports") or []
                if (one.get("name") or "") == (port.get("name") or "") and one.get("port")
                for endpoint in s.get("endpoints") or []
                if endpoint.get("conditions", {}).get("ready", True)
                for address in endpoint["addresses"]
            ]
            if targets:
                out[port["nodePort"]] = sorted(targets)
    return out
