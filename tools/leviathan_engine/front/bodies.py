"""Limits the total size of request bodies that are being received."""

from dataclasses import dataclass, field

from .api_error import ApiError

# The size of two of the largest bodies. Together with the limit of the queue, this bounds the front's memory.
MOST_UNFINISHED = 64 << 20


@dataclass(eq=False)
class Unfinished:
    """One body that is being received: its bytes so far, and whether it was dropped."""

    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    dropped: bool = False


class Bodies:
    """All bodies that are being received. Above `most` bytes in total, drops the largest one, so short ones arrive."""

    def __init__(self, most: int = MOST_UNFINISHED) -> None:
        self._most = most
        self._bodies: set[Unfinished] = set()
        self.total = 0

    def begin(self) -> Unfinished:
        """Adds a body; the caller must call `end`."""
        body = Unfinished()
        self._bodies.add(body)
        return body

    def grow(self, body: Unfinished, piece: bytes) -> None:
        """Appends the next piece of `body`. Errors: ApiError 503 if the body was dropped."""
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
                "too many large requests at once: send the request again",
                kind="server_error",
                code="too_many_bytes",
                headers={"retry-after": "1", "connection": "close"},
            )

    def end(self, body: Unfinished) -> None:
        """Removes a body, complete or not."""
        if body in self._bodies:
            self._bodies.remove(body)
            self.total -= body.size
