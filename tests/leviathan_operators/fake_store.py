"""A page store whose bytes can be told: every slot holds a digest of all tokens up to it."""

from collections.abc import Sequence
from hashlib import blake2b

from leviathan_operators.cache import PAGE_TOKENS

SLOT = 8
PAGE = SLOT * PAGE_TOKENS


def digests(ids: Sequence[int], scope: str = "") -> list[bytes]:
    """What the slots of a sequence hold: the digest of each of its prefixes."""
    state = blake2b(scope.encode(), digest_size=SLOT)
    out = []
    for token in ids:
        state.update(token.to_bytes(4, "little"))
        out.append(state.copy().digest())
    return out


class FakeStore:
    """Pages of bytes."""

    def __init__(self, pages: int) -> None:
        self.memory = [bytearray(PAGE) for _ in range(pages)]
        self.copies = 0

    def copy(self, source: int, target: int) -> None:
        self.copies += 1
        self.memory[target][:] = self.memory[source]

    def read(self, pages: Sequence[int]) -> list[bytes | bytearray | memoryview]:
        return [bytes(self.memory[page]) for page in pages]

    def write(self, pages: Sequence[int], blobs: Sequence[bytes | bytearray | memoryview]) -> None:
        for page, blob in zip(pages, blobs, strict=True):
            if len(blob) != PAGE:
                raise ValueError(f"a page has {PAGE} bytes, not {len(blob)}")
            self.memory[page][:] = blob

    def feed(self, pages: Sequence[int], first: int, slots: Sequence[bytes]) -> None:
        """What reading tokens does: writes their slots, the first of them at position `first`."""
        for position, slot in enumerate(slots, first):
            at = position % PAGE_TOKENS * SLOT
            self.memory[pages[position // PAGE_TOKENS]][at : at + SLOT] = slot

    def held(self, pages: Sequence[int], length: int) -> list[bytes]:
        """The slots of the first `length` tokens."""
        joined = b"".join(bytes(self.memory[page]) for page in pages)
        return [joined[at * SLOT : (at + 1) * SLOT] for at in range(length)]
