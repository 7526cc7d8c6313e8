"""Turns tokens into text as they arrive: only complete characters, and only up to a stop string."""

from collections.abc import Callable, Sequence

# A UTF-8 character has at most 4 bytes, so it is complete after at most 4 tokens; random bytes may never be.
HELD_TOKENS = 8
BROKEN = "\ufffd"


class TextStream:
    """The text of one answer. `stopped` is true after a stop string, `stop`."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        """`decode` returns the text of token ids; `stop` are strings that end the answer, and are not part of it."""
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        # Ids from `_before` are decoded together, because tokens may join differently; text up to `_read` is returned.
        self._before = self._read = 0
        self._pending = ""
        self.stopped = False
        self.stop = ""

    def push(self, token: int) -> str:
        """Adds a token; returns the text that is certain now."""
        if self.stopped:
            return ""
        self._ids.append(token)
        return self._release(self._new(final=False), final=False)

    def finish(self) -> str:
        """Returns the text that was held back."""
        return "" if self.stopped else self._release(self._new(final=True), final=True)

    def _new(self, *, final: bool) -> str:
        known = self._decode(self._ids[self._before : self._read])
        whole = self._decode(self._ids[self._before :])
        wait = whole.endswith(BROKEN) and len(self._ids) - self._read < HELD_TOKENS
        if len(whole) <= len(known) or (wait and not final):
            return ""
        self._before, self._read = self._read, len(self._ids)
        return whole[len(known) :]

    def _release(self, new: str, *, final: bool) -> str:
        self._pending += new
        places = [(at, stop) for at, stop in ((self._pending.find(stop), stop) for stop in self._stop) if at >= 0]
        if places:
            at, self.stop = min(places)
            self.stopped = True
            return self._pending[:at]
        keep = 0 if final else max((overlap(self._pending, stop) for stop in self._stop), default=0)
        out, self._pending = self._pending[: len(self._pending) - keep], self._pending[len(self._pending) - keep :]
        return out


def overlap(text: str, stop: str) -> int:
    """Returns the number of characters at the end of `text` that may be the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
