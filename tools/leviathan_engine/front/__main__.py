"""Runs the front: `python3 -m leviathan_engine.front --fd N --socket PATH`, on a listening socket that it inherits.

Its settings come from the environment: see limits.py and access/settings.py.
"""

import argparse
import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from leviathan_engine.errors import EngineError
from leviathan_engine.machine.privileges import GROUP, give_up

from . import bounded_log
from .access.settings import Access, access
from .access.tls import LOOK_SECONDS, Watch, load, server_context
from .app import Front
from .connections import Connections, bounds
from .limits import Limits, limits
from .protocol import bounded
from .sockets import ACCEPTED_AT_ONCE, KERNEL_BACKLOG, most_connections, open_files, watch_peers
from .tls_handshake import behind_tls

# A stop may take 30 s. After this many, running requests are cut off; the rest is for the worker's end.
DRAIN_SECONDS = 24
# Time to send an error to the clients that are cut off.
LAST_SECONDS = 1


class Server(uvicorn.Server):
    """A uvicorn server that tells the front when it stops: waiting requests are refused, running ones may finish."""

    def __init__(self, config: uvicorn.Config, front: Front, connections: Connections) -> None:
        super().__init__(config)
        self._front = front
        self._connections = connections
        self._watch: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and starts to watch the connections."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(KERNEL_BACKLOG)
        self._watch = asyncio.create_task(self._connections.watch())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        self._front.stop()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for running requests, with a time limit."""
        cut = asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._front.cut)
        await super().shutdown(sockets)
        cut.cancel()


async def serve(listener: socket.socket, path: Path, limit: Limits, allowed: Access) -> None:
    """Serves on `listener` until a signal arrives; creates the worker's socket at `path`."""
    front = Front(limit, allowed)
    connections = Connections(bounds(most_connections(limit.connections, open_files()), limit.client_seconds))
    watch_peers(listener, limit.client_seconds)
    context = None if allowed.tls is None else server_context(allowed.tls)
    kind = bounded(connections)
    config = uvicorn.Config(
        front.app(),
        http=kind if context is None else behind_tls(kind, context, connections),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        backlog=ACCEPTED_AT_ONCE,
        lifespan="off",
        timeout_graceful_shutdown=DRAIN_SECONDS + LAST_SECONDS,
        timeout_keep_alive=75,
        server_header=False,
    )
    server = Server(config, front, connections)
    # uvicorn raises the signal again when it has ended; with Python's own handler, it would become the exit code.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    await front.engine.listen(path)
    watching = asyncio.ensure_future(_watch(watches(front, context)))
    await server.serve(sockets=[listener])
    watching.cancel()
    await front.engine.close()
    front.log.close()
    if front.traces is not None:
        front.traces.close()


def watches(front: Front, context: ssl.SSLContext | None) -> list[Watch]:
    """Returns watches for the files that are reloaded when they change; `context` is None without TLS."""
    found = []
    if front.access.key_file is not None:
        found.append(Watch((front.access.key_file,), front.reload_keys, _note))
    files = front.access.tls
    if files is not None and context is not None:
        found.append(Watch((files.certificate, files.key), lambda: load(context, files), _note))
    return found


async def _watch(watched: Sequence[Watch]) -> None:
    while watched:
        await asyncio.sleep(LOOK_SECONDS)
        for one in watched:
            one.look()


def _note(text: str) -> None:
    sys.stderr.write(f"leviathan: {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="leviathan_engine.front", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the listening TCP socket")
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket to create for the engine")
    parser.add_argument("--user", type=int, help="user id to switch to when started as root")
    args = parser.parse_args()
    try:
        if args.user is not None:
            give_up(args.user, GROUP)
        # One prompt does not need several threads, and the tokenizer's would take CPU time from the experts.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        limit, allowed = limits(os.environ), access(os.environ)
        bounded_log.install()
        asyncio.run(serve(socket.socket(fileno=args.fd), args.socket, limit, allowed))
    except EngineError as err:
        sys.stderr.write(f"error: {err.line()}\n")
        return err.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
