"""Reads the settings for access and logging from the environment; the launcher's flags set the same variables.

LEVIATHAN_API_KEY or LEVIATHAN_API_KEY_FILE, LEVIATHAN_CORS_ORIGINS, LEVIATHAN_TLS_CERT_FILE and LEVIATHAN_TLS_KEY_FILE,
LEVIATHAN_ACCESS_LOG. Traces: collector.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import UsageError

from .access_log import Style
from .api_keys import ApiKey, parse_keys
from .collector import Collector, collector
from .tls import TlsFiles, server_context

KEY, KEY_FILE = "LEVIATHAN_API_KEY", "LEVIATHAN_API_KEY_FILE"
ORIGINS = "LEVIATHAN_CORS_ORIGINS"
CERT_FILE, TLS_KEY_FILE = "LEVIATHAN_TLS_CERT_FILE", "LEVIATHAN_TLS_KEY_FILE"
LOG = "LEVIATHAN_ACCESS_LOG"
# A serialized origin, RFC 6454 section 6.2.
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?|null", re.IGNORECASE)


@dataclass(frozen=True)
class Access:
    """`keys`: without any, no key is needed; `key_file` to reload them; `origins` for CORS; `tls` None: plain HTTP.

    `collector` None: no traces.
    """

    keys: tuple[ApiKey, ...] = ()
    key_file: Path | None = None
    origins: tuple[str, ...] = ()
    tls: TlsFiles | None = None
    log: Style = Style.TEXT
    collector: Collector | None = None


def access(environ: Mapping[str, str]) -> Access:
    """Returns the settings of `environ`. Errors: UsageError that names the variable."""
    path = environ.get(KEY_FILE, "")
    return Access(
        keys=read_keys(Path(path)) if path else _keys(environ.get(KEY, "")),
        key_file=Path(path) if path else None,
        origins=_origins(environ.get(ORIGINS, "")),
        tls=_tls(environ),
        log=_style(environ.get(LOG, "")),
        collector=collector(environ),
    )


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Reads the keys of a file, one per line. Errors: UsageError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as err:
        raise UsageError(f"{KEY_FILE}: cannot read {path}", f"mount the Secret, or unset {KEY_FILE}") from err
    keys = parse_keys(text, f"{KEY_FILE}: {path}")
    if not keys:
        raise UsageError(f"{KEY_FILE}: {path} has no key", f"write a key to it, or unset {KEY_FILE}")
    return keys


def _keys(text: str) -> tuple[ApiKey, ...]:
    keys = parse_keys(text.replace(",", "\n"), KEY)
    if text and not keys:
        raise UsageError(f"{KEY}: expected an API key, got only white space and comments", f"correct or unset {KEY}")
    return keys


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(text.replace(",", " ").split())
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise UsageError(
                f"{ORIGINS}: expected origins such as https://chat.example.org, or *, got {origin[:80]!r}",
                "write scheme and host, the port if it is not the default one, and no path",
            )
    return tuple(origin.lower() for origin in origins)


def _tls(environ: Mapping[str, str]) -> TlsFiles | None:
    certificate, key = environ.get(CERT_FILE, ""), environ.get(TLS_KEY_FILE, "")
    if not certificate and not key:
        return None
    if not certificate or not key:
        missing = TLS_KEY_FILE if certificate else CERT_FILE
        raise UsageError(f"{missing} is not set", f"set both {CERT_FILE} and {TLS_KEY_FILE}, or neither")
    files = TlsFiles(Path(certificate), Path(key))
    server_context(files)
    return files


def _style(text: str) -> Style:
    try:
        return Style(text or Style.TEXT.value)
    except ValueError:
        allowed = ", ".join(style.value for style in Style)
        raise UsageError(f"{LOG}: expected one of {allowed}, got {text[:40]!r}", f"correct or unset {LOG}") from None
