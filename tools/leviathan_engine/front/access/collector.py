"""Reads the address for spans from OpenTelemetry's environment variables.

OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT followed by /v1/traces; OTEL_EXPORTER_OTLP_HEADERS,
OTEL_SERVICE_NAME, OTEL_SDK_DISABLED. https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from leviathan_engine.errors import UsageError

BASE, WHOLE = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
PROTOCOL = "http/json"


@dataclass(frozen=True)
class Collector:
    """An OTLP receiver: the address for traces, the headers of each request, and the name of this service."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    service: str = "leviathan"


def collector(environ: Mapping[str, str]) -> Collector | None:
    """Returns the collector of `environ`, None if none is set. Errors: UsageError that names the variable."""
    name = WHOLE if environ.get(WHOLE) else BASE
    url = environ.get(name, "").strip()
    if not url or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(f"{name}: expected an address such as http://collector:4318", f"correct or unset {name}")
    for variable in PROTOCOLS:
        if environ.get(variable, PROTOCOL) != PROTOCOL:
            raise UsageError(
                f"{variable}: expected {PROTOCOL}, got {environ[variable][:40]!r}",
                f"set it to {PROTOCOL}, and use the collector's port for OTLP over HTTP, usually 4318",
            )
    return Collector(
        url if name == WHOLE else url.rstrip("/") + "/v1/traces",
        _headers(environ.get(HEADERS, "")),
        environ.get("OTEL_SERVICE_NAME", "") or Collector.service,
    )


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """Parses `name=value,name=value` with percent-encoded values. Errors: UsageError."""
    out = []
    for pair in filter(None, map(str.strip, text.split(","))):
        name, separator, value = pair.partition("=")
        decoded = unquote(value.strip())
        if not separator or not name.strip() or not (name + decoded).isascii() or not decoded.isprintable():
            raise UsageError(f"{HEADERS}: expected NAME=VALUE pairs separated by commas", f"correct or unset {HEADERS}")
        out.append((name.strip(), decoded))
    return tuple(out)
