"""Makes the spans of a request in OTLP's JSON encoding (opentelemetry-proto, trace.proto).

A server span contains spans for the wait in the queue, the prompt up to the first token, and the rest of the answer.
Attributes have the names of OpenTelemetry's semantic conventions (HTTP, GenAI), if there are any.
"""

import os
from typing import Any

from starlette.types import Scope

from .record import Record

SERVER, INTERNAL, ERROR = 2, 1, 2
NANO = 1_000_000_000
Span = dict[str, Any]


def spans(record: Record, scope: Scope, seconds: float) -> list[Span]:
    """Returns the spans of a request that took `seconds`; the server span first."""
    own, began = os.urandom(8).hex(), record.began_ns
    trace = {"traceId": record.trace}
    server: Span = trace | {
        "spanId": own,
        "name": f"{scope['method']} {scope['path'][:200]}",
        "kind": SERVER,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + round(seconds * NANO)),
        "attributes": _attributes(
            {
                "http.request.method": scope["method"],
                "url.path": scope["path"][:200],
                "http.response.status_code": record.status or None,
                "leviathan.request_id": record.id,
                "gen_ai.usage.input_tokens": record.prompt_tokens,
                "gen_ai.usage.output_tokens": record.generated_tokens,
                "leviathan.cached_tokens": record.cached_tokens,
                "leviathan.finish_reason": record.finish or None,
                "leviathan.stream": record.stream,
            }
        ),
    }
    if record.parent:
        server["parentSpanId"] = record.parent
    if record.status >= 500:
        server["status"] = {"code": ERROR}
    out, at = [server], 0.0
    for name, took in (("queue", record.waited), ("prompt", record.first_token), ("decode", record.decoding)):
        if took is None:
            break
        times = (began + round(at * NANO), began + round((at + took) * NANO))
        inner: Span = trace | {"spanId": os.urandom(8).hex(), "parentSpanId": own, "name": name, "kind": INTERNAL}
        out.append(inner | {"startTimeUnixNano": str(times[0]), "endTimeUnixNano": str(times[1])})
        at += took
    return out


def request_body(batch: list[Span], service: str) -> dict[str, Any]:
    """Returns the body of an ExportTraceServiceRequest."""
    resource = {"attributes": _attributes({"service.name": service})}
    scoped = [{"scope": {"name": "leviathan.front"}, "spans": batch}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scoped}]}


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    # 64-bit integers are strings in protobuf's JSON encoding.
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}
