"""The queue of requests: one generation at a time, clients in turn, and a limit on waiting requests."""

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
    """Gives turns, one at a time. Each client has one or more lines; clients take turns, and so do the lines of each.

    The first part of a line's name (`line_name`) identifies the client, which cannot choose it; the client chooses the
    second part. If `limit` requests wait, a new request replaces the last one in the longest line of the client with
    the most requests, if that client then still has at least as many as the new one's. Otherwise the same rule applies
    among the client's own lines. Otherwise the new request is refused. So no client can take all places, neither with
    many requests nor with many names.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is the maximum number of waiting requests, without the one that is running."""
        self._limit = limit
        self._clients: OrderedDict[str, Lines] = OrderedDict()
        self._busy = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """Number of requests that wait for their turn."""
        return sum(map(_places, self._clients.values()))

    @property
    def busy(self) -> bool:
        """Whether a request is running."""
        return self._busy

    def check(self, client: str) -> None:
        """Checks whether `acquire` would accept `client`. Errors: ApiError 429 if the queue is full, 503 if closed."""
        if self._closed:
            raise stopping()
        if self._busy and self.waiting >= self._limit:
            self._longest(client)

    async def acquire(self, client: str, waits: Waits | None = None, every: float | None = None) -> None:
        """Waits for a turn; the caller must call `release`. Calls `waits` every `every` seconds meanwhile.

        Errors: ApiError 429 if the queue is full, 503 if it is closed; errors of `waits`, which give up the place.
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
                self.release()  # the turn was given just when the client left
            else:
                self._remove(client, turn)
            raise
        turn.result()

    def release(self) -> None:
        """Ends the turn, and gives it to the next client."""
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
        """Refuses all waiting and all later requests."""
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
        """Returns the line whose last request is replaced. Errors: ApiError 429 if there is none for `client`."""
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
        """Removes empty lines."""
        for client, lines in list(self._clients.items()):
            for name in [name for name, line in lines.items() if not line]:
                del lines[name]
            if not lines:
                del self._clients[client]

    def _full(self) -> ApiError:
        return ApiError(
            429,
            f"the queue is full ({self._limit} requests are waiting): try again later",
            kind="rate_limit_error",
            code="queue_full",
            headers={"retry-after": "10"},
        )


def line_name(client: str, line: str) -> str:
    """Returns the name of a client's line; `client` must not contain a colon."""
    return f"{client}{SEPARATOR}{line}"


def _places(lines: Lines) -> int:
    return sum(map(len, lines.values()))


def stopping() -> ApiError:
    """Returns the error for requests while the server stops."""
    return unavailable("the server is stopping: send the request again", "stopping")
