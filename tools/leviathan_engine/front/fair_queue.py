"""The line before the engine: one generation at a time, clients in turn, a bound on who may wait."""

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

from leviathan_engine.front.api_error import ApiError, unavailable

Line = deque["asyncio.Future[None]"]
Lines = OrderedDict[str, Line]
Waits = Callable[[], Awaitable[None]]
SEPARATOR = ":"


class FairQueue:
    """One turn at a time. Each client has lines of its own; clients take turns, and so do the lines of each.

    A client is the first part of a line's name (`line_name`), which it cannot choose; the second part is what it says
    of itself. When `limit` requests wait, a newcomer takes the last place of the longest line of the client that has
    the most places, if that client keeps at least as many as the newcomer's then has; else the same among the lines of
    its own; else it is refused. So nobody takes all places, neither by many requests nor by many names.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is how many may wait, beside the one whose turn it is."""
        self._limit = limit
        self._clients: OrderedDict[str, Lines] = OrderedDict()
        self._busy = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(map(_places, self._clients.values()))

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
        owner, _, line = client.partition(SEPARATOR)
        self._clients.setdefault(owner, OrderedDict()).setdefault(line, deque()).append(turn)
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
        while self._clients:
            client, lines = self._clients.popitem(last=False)
            name, line = lines.popitem(last=False)
            turn = line.popleft()
            if line:
                lines[name] = line
            if lines:
                self._clients[client] = lines
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False

    def close(self) -> None:
        """Sends everybody away who waits, and who comes from now on."""
        self._closed = True
        for lines in self._clients.values():
            for turn in itertools.chain(*lines.values()):
                if not turn.done():
                    turn.set_exception(stopping())
        self._clients.clear()

    def _make_room(self, client: str) -> None:
        turn = self._longest(client).pop()
        if not turn.done():
            turn.set_exception(self._full())
        self._clean()

    def _longest(self, client: str) -> Line:
        """The line of which a newcomer takes the last place. Errors: ApiError 429 when there is none for `client`."""
        owner, _, name = client.partition(SEPARATOR)
        own: Lines = self._clients.get(owner, OrderedDict())
        most = max(self._clients.values(), key=_places, default=own)
        if _places(most) > _places(own) + 1:
            return max(most.values(), key=len)
        longest = max(own.values(), key=len, default=deque())
        if len(longest) > len(own.get(name, ())) + 1:
            return longest
        raise self._full()

    def _remove(self, client: str, turn: "asyncio.Future[None]") -> None:
        owner, _, name = client.partition(SEPARATOR)
        line = self._clients.get(owner, OrderedDict[str, Line]()).get(name)
        if line is not None and turn in line:
            line.remove(turn)
            self._clean()

    def _clean(self) -> None:
        """Forgets lines in which nobody waits."""
        for client, lines in list(self._clients.items()):
            for name in [name for name, line in lines.items() if not line]:
                del lines[name]
            if not lines:
                del self._clients[client]

    def _full(self) -> ApiError:
        return ApiError(
            429,
            f"{self._limit} requests wait already: try again later",
            kind="rate_limit_error",
            code="queue_full",
            headers={"retry-after": "10"},
        )


def line_name(client: str, line: str) -> str:
    """The name of a client's line; `client` is without a colon."""
    return f"{client}{SEPARATOR}{line}"


def _places(lines: Lines) -> int:
    return sum(map(len, lines.values()))


def stopping() -> ApiError:
    """The error for requests that come while the server ends."""
    return unavailable("the server is stopping: send the request again", "stopping")
