"""Test-compiles grammars in a separate process before an answer begins, because a schema is untrusted input.

Compiles one at a time, clients in turn, and caches results, including failures.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from collections import OrderedDict
from pathlib import Path

from ..api_error import bad, unavailable
from ..fair_queue import FairQueue
from ..tokenising import WAITING
from .demand import Demand
from .request import UNSUPPORTED_GRAMMAR, JsonObject

MODULE = "leviathan_engine.model.grammar.compile_grammar"
# Time limit of one grammar in seconds; the largest known usable grammar takes one second.
COMPILE_SECONDS = 5.0
# Reading the tokenizer takes 1.5 s of a core.
START_SECONDS = 60.0
# Maximum bytes of a demand, and number of cached results.
MOST_DEMAND, KEPT = 256 << 10, 64


class Grammars:
    """The process that compiles grammars, started with the first one, and the queue before it."""

    def __init__(self, waiting: int = WAITING, seconds: float = COMPILE_SECONDS) -> None:
        """`waiting` is the maximum number of waiting requests, `seconds` the time limit of one grammar."""
        self._queue = FairQueue(waiting)
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None
        self._known: OrderedDict[bytes, JsonObject] = OrderedDict()

    async def grammar(self, client: str, folder: Path, demand: Demand) -> str:
        """Returns the grammar of a demand, which compiles for the tokenizer of `folder`.

        Errors: ApiError 400 that names the keyword or the limit, 429, 503.
        """
        if len(demand.line) > MOST_DEMAND:
            long = f"the grammar has {len(demand.line)} bytes, at most {MOST_DEMAND} are allowed"
            raise bad(long, demand.where, UNSUPPORTED_GRAMMAR)
        key = hashlib.sha256(demand.line).digest()
        said = self._known.get(key)
        if said is None:
            await self._queue.acquire(client)
            work = asyncio.ensure_future(self._tried(key, folder, demand.line))
            work.add_done_callback(lambda _: self._queue.release())
            said = await asyncio.shield(work)  # a client that leaves does not end the process
        else:
            self._known.move_to_end(key)
        if "error" in said:
            raise bad(said["error"], said["param"] or demand.where, UNSUPPORTED_GRAMMAR)
        return str(said["grammar"])

    def close(self) -> None:
        """Refuses all waiting requests, and ends the process."""
        self._queue.close()
        self._end()

    async def _tried(self, key: bytes, folder: Path, line: bytes) -> JsonObject:
        """Returns the cached result or asks the process, and caches its answer. Ends a process that takes too long."""
        if key in self._known:
            return self._known[key]
        process = self._process
        if process is None or process.returncode is not None:
            process = await self._start(folder)
        assert process.stdin is not None
        process.stdin.write(line)
        said = await self._line(process, self._seconds)
        if said is None:
            self._end()
            said = {"error": "the grammar takes too much time or memory to compile", "param": ""}
        self._known[key] = said
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return said

    async def _start(self, folder: Path) -> asyncio.subprocess.Process:
        # The process gets the path of this package, and nothing else of this process's environment.
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
        argv, pipe = (sys.executable, "-m", MODULE, str(folder)), asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=pipe,
            stdout=pipe,
            env=environment,
            limit=4 * MOST_DEMAND,
        )
        if await self._line(self._process, START_SECONDS) is None:
            self._end()
            raise unavailable("the process that compiles grammars did not start")
        return self._process

    async def _line(self, process: asyncio.subprocess.Process, seconds: float) -> JsonObject | None:
        """Returns the next line of the process, None if it ends or times out."""
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), seconds)
            return dict(json.loads(line)) if line.endswith(b"\n") else None
        except (TimeoutError, OSError, ValueError):
            return None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
