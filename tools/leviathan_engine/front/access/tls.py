"""TLS with a certificate and a key file. A renewed pair is loaded without a restart.

Kubernetes renews a mounted Secret by replacing a link; other files are written again. Both change the file's inode,
modification time or size, so these are compared.
"""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import UsageError

# Seconds between two checks of the files.
LOOK_SECONDS = 2.0
Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the certificate with its chain, and its private key without a passphrase."""

    certificate: Path
    key: Path


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Returns a context for TLS 1.2 and newer with the files' certificate. Errors: UsageError that names the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, files)
    return context


def load(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Loads the files' certificate into `context`, for later handshakes. Errors: UsageError."""
    try:
        # Tries the pair in another context first: a failure halfway would leave the new certificate with the old key.
        for one in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            one.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
    except (OSError, ValueError) as err:  # ssl.SSLError is an OSError
        why = f"{getattr(err, 'reason', None) or getattr(err, 'strerror', None) or err}"
        raise UsageError(
            f"{files.certificate} and {files.key}: expected a certificate and its private key in PEM: {why}",
            "mount a Secret of type kubernetes.io/tls, or unset the certificate and the key",
        ) from err


def signature(paths: Sequence[Path]) -> Signature:
    """Returns values that change when one of the files changes; None for a missing file."""
    return tuple(_one(path) for path in paths)


class Watch:
    """Reloads files when they change, and keeps the old state if the new files are invalid."""

    def __init__(self, paths: Sequence[Path], reload: Callable[[], None], note: Callable[[str], None]) -> None:
        """`reload` raises UsageError for invalid files; `note` writes one message to the log."""
        self._paths = tuple(paths)
        self._reload = reload
        self._note = note
        self._seen = signature(self._paths)

    def look(self) -> None:
        """Checks the files once."""
        now = signature(self._paths)
        if now == self._seen:
            return
        self._seen = now
        names = " and ".join(str(path) for path in self._paths)
        try:
            self._reload()
        except UsageError as err:
            self._note(f"{names} changed, but cannot be used, so the previous content stays in use: {err.line()}")
        else:
            self._note(f"{names} changed, and the new content is in use")


def _one(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _no_passphrase() -> str:
    raise ValueError("the private key has a passphrase")
