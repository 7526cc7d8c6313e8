"""How much of an answer of the API server is read, and how long: urllib3 bounds only the silence between two bytes."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from leviathan.cluster.errors import ClusterError

#: Bytes of a whole answer: a page of 500 objects, each of which etcd bounds to 1.5 MiB, is a tenth of it in practice.
MOST = 64 << 20
#: Bytes of an answer that is an error, and of one line of a watch or a log.
MOST_ERROR, MOST_LINE = 1 << 20, 8 << 20
#: Seconds for the body of a whole answer.
BODY_S = 120.0
PIECE = 1 << 16


def bad_answer(why: str, where: str = "") -> ClusterError:
    """The error for what no API server answers."""
    return ClusterError(
        "the answer is not one of an API server",
        where=where,
        why=why,
        remedy="check server: in the kubeconfig, and what proxies stand in between",
        reason="BadAnswer",
    )


def whole(answer: Any, most: int, seconds: float = BODY_S, clock: Callable[[], float] = time.monotonic) -> Any:
    """A urllib3 answer whose body has been read, at most `most` bytes in `seconds`.

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
            raise bad_answer(f"its body does not end within {limit}")
    return HTTPResponse(bytes(body), answer.headers, answer.status, reason=answer.reason)


def bound(api: Any) -> None:
    """Have an ApiClient refuse compressed answers, which it never asks for, and read errors within their bound.

    Redirects are not followed: an API server sends none for what we ask, and what another host says is not its answer.
    """
    pool = api.rest_client.pool_manager
    request = pool.request

    def bounded(*args: Any, **more: Any) -> Any:
        answer = request(*args, **{**more, "preload_content": False, "redirect": False})
        packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            answer.close()
            raise bad_answer(f"its body has the encoding {packed[:20]!r}, which was not asked for")
        if answer.get_redirect_location():
            answer.close()
            raise bad_answer(f"it redirects to {answer.headers['Location'][:200]!r}")
        return answer if 200 <= answer.status <= 299 else whole(answer, MOST_ERROR)

    pool.request = bounded


def items(page: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """The objects on a page of a list, each with its apiVersion and kind. Errors: ClusterError for what is no list."""
    version, kind, found = page.get("apiVersion"), page.get("kind"), page.get("items") or []
    if not isinstance(version, str) or not isinstance(kind, str) or not isinstance(found, list):
        raise bad_answer("it is a list without apiVersion, kind or items", where)
    each = {"apiVersion": version, "kind": kind.removesuffix("List")}
    return [each | checked(item, where) for item in found]


def checked(found: Any, where: str) -> dict[str, Any]:
    """An object of the API. Errors: ClusterError for what is none, or has metadata that are none."""
    metadata = found.get("metadata", {}) if isinstance(found, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name", ""), str):
        raise bad_answer(f"it has an object that is none: {found!r:.100}", where)
    return dict(found)
