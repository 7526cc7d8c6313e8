"""Tokenises prompts one at a time, clients in turn, so that tokenising uses at most one core.

It has its own queue, because a prompt that is too long never gets into the queue of answers, and its limit.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .fair_queue import FairQueue

T = TypeVar("T")
WAITING = 64


class Tokenising:
    """The tokenizer's thread, and the queue before it."""

    def __init__(self, waiting: int = WAITING) -> None:
        """`waiting` is the maximum number of waiting requests."""
        self._queue = FairQueue(waiting)
        self._thread = ThreadPoolExecutor(1, "tokenising")

    async def run(self, client: str, work: Callable[[], T], *, brief: bool = False) -> T:
        """Runs `work` in the thread when it is `client`'s turn; `brief` work immediately in this thread.

        Work of a cancelled request is finished before the next one starts. Errors: ApiError 429, 503; those of `work`.
        """
        await self._queue.acquire(client)
        try:
            return work() if brief else await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._queue.release()

    def close(self) -> None:
        """Refuses all waiting requests."""
        self._queue.close()
