"""Limits the size of a request body: its total bytes, and its bytes outside of strings.

`json.loads` holds the interpreter lock until it is done, even in a thread, and /health has to wait. Strings are cheap
(6 MB: 11 ms), numbers and lists are not (6 MB of token ids: 100 ms, of empty lists: 800 ms). So bytes outside of
strings have a separate limit; they are counted as they arrive.
"""

from dataclasses import dataclass

from leviathan_engine.front.api_error import ApiError

BLANKS = b" \t\r\n"
MIB = 1 << 20
# The limit while the model, or the size of its tokens, is not known.
UNKNOWN = 8 * MIB
# Only a prompt of the vocabulary's longest tokens, written as escapes, is larger; LEVIATHAN_MAX_BODY allows it.
MOST = 32 * MIB
# A byte of text has at most 6 bytes in JSON, as in `\u0041`.
ESCAPED = 6
# A token id has at most 8 bytes, `9999999,`; the rest is for 4096 messages and ignored fields.
ID_BYTES = 8
OUTLINE = 256 << 10


@dataclass(frozen=True)
class BodyLimit:
    """`whole`: total bytes; `outline`: bytes that are neither in strings nor white space."""

    whole: int = UNKNOWN
    outline: int = OUTLINE


def body_limit(asked: int | None, cache_lens: int = 0, longest_token: int | None = None) -> BodyLimit:
    """Returns the limits for a context of `cache_lens` tokens of at most `longest_token` bytes (None: not known).

    `asked` is the user's limit for the total in bytes. Without it, the limit allows every prompt that fits the context,
    in every JSON encoding, up to `MOST`.
    """
    whole = UNKNOWN if longest_token is None else min(MOST, MIB + cache_lens * longest_token * ESCAPED)
    return BodyLimit(asked or whole, OUTLINE + cache_lens * ID_BYTES)


class Outline:
    """Counts a body's bytes outside of strings, piece by piece; quotes count, white space does not."""

    def __init__(self) -> None:
        """Starts before the first piece."""
        self.size = 0
        self._inside = False
        self._held = b""

    def feed(self, piece: bytes) -> None:
        """Counts the next piece of the body, which may be cut anywhere."""
        text = (self._held + piece).replace(b"\\\\", b"").replace(b'\\"', b"")
        self._held = text[-1:] if text.endswith(b"\\") else b""
        parts = text.split(b'"')
        self.size += len(parts) - 1 + len(b"".join(parts[self._inside :: 2]).translate(None, BLANKS))
        self._inside ^= len(parts) % 2 == 0


def too_large(message: str) -> ApiError:
    """Returns status 413, which closes the connection, because the rest of the body is not read."""
    return ApiError(413, message, code="body_too_large", headers={"connection": "close"})
