"""Counts the bytes of one blob during its upload, for the progress meter and the retry policy."""

from collections.abc import Iterable

from leviathan.registry.attempts import Attempts
from leviathan.registry.blob_reader import BlobReader
from leviathan.registry.http_transport import Body
from leviathan.registry.responses import Session
from leviathan.terminal.progress import Meter


class Account:
    """The byte counts of one blob. `sent`: all bytes that were sent, including those sent twice.

    Arguments: `meter` shows the progress of the whole push; `reader` reads the blob; `attempts` are reset whenever the
    registry has received new bytes.
    """

    def __init__(self, meter: Meter, reader: BlobReader, attempts: Attempts) -> None:
        self.meter = meter
        self.reader = reader
        self.attempts = attempts
        self.sent = 0
        self._shown = 0  # bytes of this blob that the meter counts as done
        self._best = 0  # the highest offset that the registry has reported

    def body(self, start: int, length: int) -> Body:
        """A request body with `length` bytes from `start`, which counts the bytes that are sent."""

        def moved(count: int) -> None:
            self.sent += count
            self._shown += count
            self.meter.add(count)

        def pieces() -> Iterable[bytes]:
            self.show(start)
            return self.reader.pieces(start, length, moved)

        return pieces

    def advanced(self, session: Session) -> Session:
        """Record the registry's offset. If it has new bytes, reset the count of failures."""
        if session.offset > self._best:
            self._best = session.offset
            self.attempts.progress()
        self.show(session.offset)
        return session

    def show(self, offset: int) -> None:
        """Show `offset` bytes of this blob as done."""
        if offset != self._shown:
            difference, self._shown = offset - self._shown, offset
            self.meter.found(difference)
