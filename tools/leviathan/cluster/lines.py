"""The lines of an HTTP answer, as they arrive."""

from collections.abc import Iterator
from typing import Any

from leviathan.cluster.bounds import MOST_LINE, PIECE, bad_answer
from leviathan.cluster.errors import ClusterError


def lines(answer: Any, timeout_s: float | None = None) -> Iterator[str | None]:
    """Each line of a urllib3 answer without its end; None, as the last, when the connection broke.

    `timeout_s` is only for the text of the error. A line that was cut by the break is not given.
    Errors: ClusterError with the reason Timeout when no byte came within the answer's read time-out, if `timeout_s` is
    given; without it that is an end like any other.
    """
    from urllib3.exceptions import HTTPError, ReadTimeoutError  # noqa: PLC0415

    rest = b""
    try:
        for piece in answer.stream(PIECE, decode_content=False):
            if len(rest) > MOST_LINE:
                raise bad_answer(f"it has a line of more than {MOST_LINE >> 20} MiB")
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")
    except ReadTimeoutError:
        if timeout_s is not None:
            raise ClusterError(
                f"nothing came for {timeout_s:g} s", remedy="wait longer, or look whether it hangs", reason="Timeout"
            ) from None
    except (HTTPError, OSError):
        yield None
    finally:
        answer.close()
