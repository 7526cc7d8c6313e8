"""The record of one request: filled in while it is answered, then written to the access log."""

import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

# Other ids are replaced, because they are written to headers and logs.
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
HEADER = b"x-request-id"
# W3C Trace Context, section 3.2: version, trace id, parent id, flags. Version ff and ids of zeros alone are invalid.
TRACE_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1
_PLACE = "leviathan.record"


@dataclass
class Record:
    """One request. Times are in seconds; `status` is 0 until an answer begins; None: not known.

    Requests of the same `scope` share the prefix cache; it is not logged. `trace` and `parent` are the client's ids of
    its trace and span, `sampled` whether it records them. `began_ns` is the time of the request, in nanoseconds since
    1970.
    """

    id: str
    came: float = field(default_factory=time.monotonic)
    status: int = 0
    trace: str = ""
    parent: str = ""
    sampled: bool = True
    key: str = ""
    scope: str = ""
    stream: bool | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None
    waited: float | None = None
    first_token: float | None = None
    decoding: float | None = None
    finish: str = ""
    began_ns: int = field(default_factory=time.time_ns)


def begin(scope: Scope) -> Record:
    """Starts the record of a new request; its id is the client's, or a new one."""
    given = [value for name, value in scope["headers"] if name == HEADER]
    fits = len(given) == 1 and REQUEST_ID.fullmatch(given[0])
    record = Record(given[0].decode("ascii") if fits else f"req_{secrets.token_hex(16)}")
    parents = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(parents) == 1 and (trace := TRACE_PARENT.fullmatch(parents[0])):
        record.trace, record.parent = trace[1].decode("ascii"), trace[2].decode("ascii")
        record.sampled = bool(int(trace[3], 16) & SAMPLED)
    scope[_PLACE] = record
    return record


def record_of(scope: Scope) -> Record:
    """Returns the record of a current request; a new one if the app runs without the edge, as in some tests."""
    record = scope.get(_PLACE)
    return record if isinstance(record, Record) else begin(scope)


def facts(record: Record, scope: Scope, seconds: float) -> dict[str, Any]:
    """Returns the access log's fields of an answered request; leaves out what is not known."""
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "backslashreplace")
    values = {
        "request_id": record.id,
        "trace_id": record.trace or None,
        "client": (scope.get("client") or ("",))[0],
        "key": record.key or None,
        "method": scope["method"],
        "path": path[:200].decode("ascii", "backslashreplace"),
        "status": record.status or None,
        "seconds": round(seconds, 4),
        "stream": record.stream,
        "prompt_tokens": record.prompt_tokens,
        "cached_tokens": record.cached_tokens,
        "completion_tokens": record.generated_tokens,
        "queue_seconds": _rounded(record.waited),
        "first_token_seconds": _rounded(record.first_token),
        "finish_reason": record.finish or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
