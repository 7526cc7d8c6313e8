"""Counts one blob's bytes on their way, for the meter and for the attempts."""

from collections.abc import Iterable

from leviathan.registry.attempts import Attempts
from leviathan.registry.blob_reader import BlobReader
from leviathan.registry.http_transport import Body
from leviathan.registry.responses import Session
from leviathan.terminal.progress import Meter


class Account:
    """One blob's bytes: `sent`, all that went out, those sent again included.

    Arguments: `meter` shows the progress of the whole push; `reader` gives the bytes; `attempts` begin anew with each
    byte that the registry has for the first time.
    """

    def __init__(self, meter: Meter, reader: BlobReader, attempts: Attempts) -> None:
        self.meter = meter
        self.reader = reader
        self.attempts = attempts
        self.sent = 0
        self._shown = 0  # bytes of this blob that the meter counts as done
        self._best = 0  # the furthest the registry has come

    def body(self, start: int, length: int) -> Body:
        """A request's body with `length` bytes from `start`; what goes out is counted."""

        def moved(count: int) -> None:
            self.sent += count
            self._shown += count
            self.meter.add(count)

        def pieces() -> Iterable[bytes]:
            self.show(start)
            return self.reader.pieces(start, length, moved)

        return pieces

    def advanced(self, session: Session) -> Session:
        """Note where the registry stands; new bytes there forgive earlier failures."""
        if session.offset > self._best:
            self._best = session.offset
            self.attempts.progress()
        self.show(session.offset)
        return session

    def show(self, offset: int) -> None:
        """Have the meter count `offset` bytes of this blob as done."""
        if offset != self._shown:
            difference, self._shown = offset - self._shown, offset
            self.meter.found(difference)
