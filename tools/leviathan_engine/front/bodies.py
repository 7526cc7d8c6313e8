"""The requests whose bodies are on their way: the sum of their bytes is bounded."""

from dataclasses import dataclass, field

from .api_error import ApiError

# As much as two of the largest bodies; with the bound on what waits in the queue it is the front's memory.
MOST_UNFINISHED = 64 << 20


@dataclass(eq=False)
class Unfinished:
    """One body that is on its way: what has come of it, and whether it had to go."""

    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    dropped: bool = False


class Bodies:
    """The sum over all. When it is above `most` bytes the largest is dropped, so short requests still come in."""

    def __init__(self, most: int = MOST_UNFINISHED) -> None:
        self._most = most
        self._bodies: set[Unfinished] = set()
        self.total = 0

    def begin(self) -> Unfinished:
        """A body begins; `end` must follow."""
        body = Unfinished()
        self._bodies.add(body)
        return body

    def grow(self, body: Unfinished, piece: bytes) -> None:
        """The next piece of `body` has come. Errors: ApiError 503 when it has been dropped for others."""
        if not body.dropped:
            body.pieces.append(piece)
            body.size += len(piece)
            self.total += len(piece)
        if self.total > self._most:
            largest = max(self._bodies, key=lambda one: one.size)
            self.end(largest)
            largest.dropped = True
            largest.pieces.clear()
        if body.dropped:
            raise ApiError(
                503,
                "too many bytes of unfinished requests are held: send the request again",
                kind="server_error",
                code="too_many_bytes",
                headers={"retry-after": "1", "connection": "close"},
            )

    def end(self, body: Unfinished) -> None:
        """It has come, or never will."""
        if body in self._bodies:
            self._bodies.remove(body)
            self.total -= body.size
