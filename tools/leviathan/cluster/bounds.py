"""Limits the size and the duration of the API server's answers. urllib3 limits only the time between two bytes."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from leviathan.cluster.errors import ClusterError

#: Maximum bytes of an answer. A page has 500 objects, each limited to 1.5 MiB by etcd; real pages are a tenth of this.
MOST = 64 << 20
#: Maximum bytes of an error's body, and of one line of a watch or a log.
MOST_ERROR, MOST_LINE = 1 << 20, 8 << 20
#: Seconds for the body of a whole answer.
BODY_S = 120.0
PIECE = 1 << 16


def bad_answer(why: str, where: str = "") -> ClusterError:
    """The error for an answer that cannot come from an API server."""
    return ClusterError(
        "the answer does not come from a Kubernetes API server",
        where=where,
        why=why,
        remedy="check the field server in the kubeconfig, and the proxies in between",
        reason="BadAnswer",
    )


def whole(answer: Any, most: int, seconds: float = BODY_S, clock: Callable[[], float] = time.monotonic) -> Any:
    """Read the body of a urllib3 answer, at most `most` bytes in `seconds`, and return the answer with its body.

    Errors: ClusterError with the reason BadAnswer; urllib3's.
    """
    from urllib3 import HTTPResponse  # noqa: PLC0415 - slow to import, as the client

    ends = clock() + seconds
    body = bytearray()
    while piece := answer.read1(PIECE, decode_content=False):
        body += piece
        if len(body) > most or clock() > ends:
            answer.close()
            limit = f"{most >> 20} MiB" if len(body) > most else f"{seconds:g} s"
            raise bad_answer(f"the body does not end within {limit}")
    return HTTPResponse(bytes(body), answer.headers, answer.status, reason=answer.reason)


def bound(api: Any) -> None:
    """Make an ApiClient reject compressed answers, which it never requests, and limit the size of errors.

    Redirects are not followed: an API server sends none for our requests, and another host's answer is not its answer.
    """
    pool = api.rest_client.pool_manager
    request = pool.request

    def bounded(*args: Any, **more: Any) -> Any:
        answer = request(*args, **{**more, "preload_content": False, "redirect": False})
        packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            answer.close()
            raise bad_answer(f"the body has the encoding {packed[:20]!r}, which was not requested")
        if answer.get_redirect_location():
            answer.close()
            raise bad_answer(f"it redirects to {answer.headers['Location'][:200]!r}")
        return answer if 200 <= answer.status <= 299 else whole(answer, MOST_ERROR)

    pool.request = bounded


def items(page: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """The objects on a page of a list, each with its apiVersion and kind. Errors: ClusterError if it is not a list."""
    version, kind, found = page.get("apiVersion"), page.get("kind"), page.get("items") or []
    if not isinstance(version, str) or not isinstance(kind, str) or not isinstance(found, list):
        raise bad_answer("expected a list with apiVersion, kind and items", where)
    each = {"apiVersion": version, "kind": kind.removesuffix("List")}
    return [each | checked(item, where) for item in found]


def checked(found: Any, where: str) -> dict[str, Any]:
    """`found` as an object of the API. Errors: ClusterError if it is not an object, or its metadata are invalid."""
    metadata = found.get("metadata", {}) if isinstance(found, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name", ""), str):
        raise bad_answer(f"expected an object with metadata, got {found!r:.100}", where)
    return dict(found)
