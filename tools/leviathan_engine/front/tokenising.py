"""Turns prompts into token ids: one at a time and clients in turn, so that nobody takes more than one core with it.

A prompt that turns out to be too long never comes to the queue of answers, so that queue's bound does not bound this.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .fair_queue import FairQueue

T = TypeVar("T")
WAITING = 64


class Tokenising:
    """The line before the tokenizer, and its thread."""

    def __init__(self, waiting: int = WAITING) -> None:
        """`waiting` is how many requests may wait for it."""
        self._queue = FairQueue(waiting)
        self._thread = ThreadPoolExecutor(1, "tokenising")

    async def run(self, client: str, work: Callable[[], T], *, brief: bool = False) -> T:
        """What `work` gives, done in the thread when it is `client`'s turn; work that is `brief`, at once in this one.

        Work whose request is given up is finished before the next begins. Errors: ApiError 429, 503; those of `work`.
        """
        await self._queue.acquire(client)
        try:
            return work() if brief else await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._queue.release()

    def close(self) -> None:
        """Sends everybody away who waits."""
        self._queue.close()
