"""The line before the engine: one generation at a time, clients in turn, a bound on who may wait."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

from leviathan_engine.front.api_error import ApiError, unavailable

Line = deque["asyncio.Future[None]"]
Waits = Callable[[], Awaitable[None]]


class FairQueue:
    """One turn at a time. Each client has a line of its own, and the lines are served in rotation.

    When `limit` requests wait, a client that has none waiting takes the last place of the longest line; otherwise the
    newcomer is refused.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is how many may wait, beside the one whose turn it is."""
        self._limit = limit
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._busy = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(len(line) for line in self._lines.values())

    @property
    def busy(self) -> bool:
        """Whether it is somebody's turn."""
        return self._busy

    def check(self, client: str) -> None:
        """Whether `acquire` would let `client` wait now. Errors: ApiError 429 when too many wait, 503 when closed."""
        if self._closed:
            raise stopping()
        if self._busy and self.waiting >= self._limit:
            self._longest(client)

    async def acquire(self, client: str, waits: Waits | None = None, every: float | None = None) -> None:
        """Waits for a turn; `release` must follow. `waits` is called every `every` seconds meanwhile.

        Errors: ApiError 429 when too many wait, 503 when it is closed; what `waits` raises, and the place is given up.
        """
        self.check(client)
        if not self._busy:
            self._busy = True
            return
        if self.waiting >= self._limit:
            self._make_room(client)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(client, deque()).append(turn)
        try:
            while not (await asyncio.wait({turn}, timeout=every))[0]:
                if waits is not None:
                    await waits()
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # the turn came in the moment in which the client left
            else:
                self._remove(client, turn)
            raise
        turn.result()

    def release(self) -> None:
        """Ends the turn; the next client's begins."""
        while self._lines:
            client, line = self._lines.popitem(last=False)
            turn = line.popleft()
            if line:
                self._lines[client] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False

    def close(self) -> None:
        """Sends everybody away who waits, and who comes from now on."""
        self._closed = True
        for line in self._lines.values():
            for turn in line:
                if not turn.done():
                    turn.set_exception(stopping())
        self._lines.clear()

    def _make_room(self, client: str) -> None:
        turn = self._longest(client).pop()
        if not turn.done():
            turn.set_exception(self._full())

    def _longest(self, client: str) -> Line:
        """The line of which a newcomer takes the last place. Errors: ApiError 429 when there is none for `client`."""
        longest = max(self._lines.values(), key=len, default=None)
        if longest is None or client in self._lines or len(longest) < 2:
            raise self._full()
        return longest

    def _remove(self, client: str, turn: "asyncio.Future[None]") -> None:
        line = self._lines.get(client)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[client]

    def _full(self) -> ApiError:
        return ApiError(
            429,
            f"{self._limit} requests wait already: try again later",
            kind="rate_limit_error",
            code="queue_full",
            headers={"retry-after": "10"},
        )


def stopping() -> ApiError:
    """The error for requests that come while the server ends."""
    return unavailable("the server is stopping: send the request again", "stopping")
