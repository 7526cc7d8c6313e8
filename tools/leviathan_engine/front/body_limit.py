"""How large a request may be: its bytes as a whole, and what of them is not inside of strings.

`json.loads` holds the interpreter's lock from its first to its last byte, in a thread too, and /health waits for it. A
string costs it next to nothing (6 MB: 11 ms), numbers and lists do not (6 MB of token ids: 100 ms, of empty lists: 800
ms). So the bytes outside of strings have a bound of their own, which is counted as they come.
"""

from dataclasses import dataclass

from leviathan_engine.front.api_error import ApiError

BLANKS = b" \t\r\n"
MIB = 1 << 20
# While nothing is known of the model, or of what its tokens can be.
UNKNOWN = 8 * MIB
# What is longer is nothing but the vocabulary's longest tokens, written as escapes; LEVIATHAN_MAX_BODY takes it.
MOST = 32 * MIB
# A byte of text as JSON is `\u0041` at the most.
ESCAPED = 6
# A token id is at most `9999999,`; the rest is for 4096 messages and fields that nobody reads.
ID_BYTES = 8
OUTLINE = 256 << 10


@dataclass(frozen=True)
class BodyLimit:
    """`whole` bytes in all, and `outline` bytes that are neither inside of strings nor blanks."""

    whole: int = UNKNOWN
    outline: int = OUTLINE


def body_limit(asked: int | None, cache_lens: int = 0, longest_token: int | None = None) -> BodyLimit:
    """The limits for a context of `cache_lens` tokens of at most `longest_token` bytes (None: not known).

    `asked` is the user's own limit for the whole, in bytes. Without it every prompt that fits the context fits the
    body, however it is written, up to `MOST`.
    """
    whole = UNKNOWN if longest_token is None else min(MOST, MIB + cache_lens * longest_token * ESCAPED)
    return BodyLimit(asked or whole, OUTLINE + cache_lens * ID_BYTES)


class Outline:
    """Counts a body's bytes outside of strings, piece by piece; quotes count, blanks do not."""

    def __init__(self) -> None:
        """Before the first piece."""
        self.size = 0
        self._inside = False
        self._held = b""

    def feed(self, piece: bytes) -> None:
        """Takes the next piece of the body, cut anywhere."""
        text = (self._held + piece).replace(b"\\\\", b"").replace(b'\\"', b"")
        self._held = text[-1:] if text.endswith(b"\\") else b""
        parts = text.split(b'"')
        self.size += len(parts) - 1 + len(b"".join(parts[self._inside :: 2]).translate(None, BLANKS))
        self._inside ^= len(parts) % 2 == 0


def too_large(message: str) -> ApiError:
    """413. The connection is closed: the rest of the body is not read."""
    return ApiError(413, message, code="body_too_large", headers={"connection": "close"})
