"""Splits a streamed HTTP answer into lines, as they arrive."""

from collections.abc import Iterator
from typing import Any

from leviathan.cluster.bounds import MOST_LINE, PIECE, bad_answer
from leviathan.cluster.errors import ClusterError


def lines(answer: Any, timeout_s: float | None = None) -> Iterator[str | None]:
    """Yield each line of a urllib3 answer without its line end, and None at the end if the connection broke.

    A line that the break cut off is not yielded. `timeout_s` is only for the error's text.
    Errors: ClusterError with the reason Timeout if no byte arrived within the answer's read timeout and `timeout_s` is
    given. Without `timeout_s`, such a timeout ends the lines normally.
    """
    from urllib3.exceptions import HTTPError, ReadTimeoutError  # noqa: PLC0415

    rest = b""
    try:
        for piece in answer.stream(PIECE, decode_content=False):
            if len(rest) > MOST_LINE:
                raise bad_answer(f"a line has more than {MOST_LINE >> 20} MiB")
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")
    except ReadTimeoutError:
        if timeout_s is not None:
            raise ClusterError(
                f"received nothing for {timeout_s:g} s",
                remedy="wait longer, or check whether it hangs",
                reason="Timeout",
            ) from None
    except (HTTPError, OSError):
        yield None
    finally:
        answer.close()
