"""Runs the front: `python3 -m leviathan_engine.front --fd N --socket PATH`, on a listening socket that it inherits.

LEVIATHAN_QUEUE (requests that may wait), LEVIATHAN_MAX_BODY (bytes) and LEVIATHAN_API_KEY or LEVIATHAN_API_KEY_FILE
come from the environment.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import uvicorn

from leviathan_engine.errors import EngineError, UsageError

from .app import Front, Limits

# Of the 30 s that a stop may take; the rest is for the engine's end.
DRAIN_SECONDS = 24


class Server(uvicorn.Server):
    """uvicorn, which tells the front when it is to end: what waits is sent away, what runs may finish."""

    def __init__(self, config: uvicorn.Config, front: Front) -> None:
        super().__init__(config)
        self._front = front

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        self._front.stop()
        super().handle_exit(sig, frame)


def limits(environ: Mapping[str, str]) -> Limits:
    """The limits from the environment. Errors: UsageError that names the variable."""
    path = environ.get("LEVIATHAN_API_KEY_FILE", "")
    try:
        key = Path(path).read_text(encoding="utf-8").strip() if path else environ.get("LEVIATHAN_API_KEY", "")
    except (OSError, ValueError) as err:
        raise UsageError(f"LEVIATHAN_API_KEY_FILE: {path} cannot be read", "mount the secret, or unset it") from err
    if path and not key:
        raise UsageError(f"LEVIATHAN_API_KEY_FILE: {path} is empty", "put the key in it, or unset the variable")
    default = Limits()
    return Limits(
        waiting=_whole(environ, "LEVIATHAN_QUEUE", default.waiting),
        body=_whole(environ, "LEVIATHAN_MAX_BODY", default.body),
        api_key=key,
    )


async def serve(listener: socket.socket, path: Path, limit: Limits) -> None:
    """Serves on `listener` until a signal comes; `path` is where the engine's socket is made."""
    front = Front(limit)
    config = uvicorn.Config(
        front.app(),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=75,
        server_header=False,
    )
    server = Server(config, front)
    # uvicorn raises the signal once more when it has ended; with Python's own handler that would be the exit code.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    await front.engine.listen(path)
    await server.serve(sockets=[listener])
    await front.engine.close()


def main() -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="leviathan_engine.front", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="a listening TCP socket")
    parser.add_argument("--socket", type=Path, required=True, help="the engine's socket, to be made")
    args = parser.parse_args()
    try:
        limit = limits(os.environ)
        asyncio.run(serve(socket.socket(fileno=args.fd), args.socket, limit))
    except EngineError as err:
        sys.stderr.write(f"error: {err.line()}\n")
        return err.exit_code
    return 0


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) > 0):
        raise UsageError(f"{name} is {text[:40]!r}, a whole number above 0 is wanted", f"correct or unset {name}")
    return int(text) if text else default


if __name__ == "__main__":
    sys.exit(main())
