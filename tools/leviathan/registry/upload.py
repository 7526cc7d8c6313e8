"""Uploads one blob: check, mount, resume or start, send in chunks, close, check again.

After each failure, asks the registry for the upload's offset (GET on the upload). Then resumes at that byte, or starts
again if the registry no longer knows the upload.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import httpx

from leviathan.errors import RegistryError
from leviathan.registry.attempts import Attempts, TransientError
from leviathan.registry.blob_reader import BlobReader
from leviathan.registry.layout import Blob
from leviathan.registry.repository import Client
from leviathan.registry.responses import Session, error_text
from leviathan.registry.sessions import Sessions
from leviathan.registry.upload_progress import Account
from leviathan.terminal.progress import Meter, size_text


def there(client: Client, blob: Blob) -> bool:
    """Whether the registry has the blob, for example because only the last answer was lost. Errors: RegistryError."""
    return client.head_blob(blob.digest) is not None


def mounted(client: Client, blob: Blob, sources: Iterable[str]) -> bool:
    """Mount the blob from the first of `sources`, other repositories, that has it; whether that succeeded.

    A refusal is not an error: the blob is then uploaded.
    """
    for source in sources:
        try:
            if client.head_blob(blob.digest, source) is None:
                continue
            session = client.mount(blob.digest, source)
        except RegistryError as error:
            client.console.debug(f"cannot mount from {source}: {error}")
            continue
        if session is None:
            return True
        client.cancel(session.location)
    return False


def verify(client: Client, blob: Blob, attempts: Attempts) -> None:
    """Check that the registry has the blob, with the right digest and size. Errors: RegistryError."""
    present = client.head_blob(blob.digest)
    while present is None:
        attempts.failed("the registry does not have the blob yet")
        present = client.head_blob(blob.digest)
    wrong_size = present.size is not None and present.size != blob.size
    if wrong_size or (present.digest and present.digest != blob.digest):
        raise RegistryError(
            "the registry has a different blob than was sent",
            where=client.base,
            why=f"expected {blob.digest}, {blob.size} bytes, got {present.digest}, {present.size} bytes",
            remedy="check the registry's storage, and proxies between here and the registry",
        )


class BlobOutcome(Enum):
    """How the registry got a blob; MISSING only in a dry run."""

    PRESENT = "present"
    MOUNTED = "mounted"
    SENT = "sent"
    MISSING = "missing"


@dataclass(frozen=True)
class Outcome:
    """The result for one blob: `sent`, bytes that were sent; `resumed_at`, the offset that an earlier run reached."""

    blob: Blob
    how: BlobOutcome
    sent: int = 0
    resumed_at: int = 0


SMALLEST_CHUNK = 1 << 20
#: Statuses with which a registry without chunk support answers a PATCH.
NO_CHUNKS = frozenset({405, 415, 501})


class UploadLost(Exception):
    """The registry does not know the upload (any longer), or has other bytes than ours, so the upload starts again."""


class Uploader:
    """Uploads blobs to one repository. Thread-safe, with one blob per thread.

    Arguments: `chunk`, bytes per request; `mount_from`, other repositories that may have the blob; `meter` shows
    progress.
    """

    def __init__(
        self, client: Client, sessions: Sessions, meter: Meter, *, chunk: int, mount_from: Sequence[str] = ()
    ) -> None:
        self.client = client
        self.sessions = sessions
        self.meter = meter
        self.chunk = chunk
        self.mount_from = mount_from
        self.chunks_work = True

    def upload(self, blob: Blob) -> Outcome:
        """Upload `blob`, which the registry does not have.

        Errors: RegistryError, LayoutError, Stopped.
        """
        with BlobReader(blob) as reader:
            return _Upload(self, blob, reader).run()


class _Upload:
    """The upload of one blob; `session` is its state after the registry's latest answer, None before it is started."""

    def __init__(self, uploader: Uploader, blob: Blob, reader: BlobReader) -> None:
        self.up = uploader
        self.client = uploader.client
        self.blob = blob
        self.reader = reader
        self.attempts: Attempts = self.client.attempts(f"upload {blob.digest[7:19]} ({size_text(blob.size)})")
        self.account = Account(uploader.meter, reader, self.attempts)
        self.session: Session | None = None
        self.resumed_at = 0
        self.rejected = False

    def run(self) -> Outcome:
        self.session = self._resume()
        if self.session is None:
            if mounted(self.client, self.blob, self.up.mount_from):
                self.up.meter.found(self.blob.size)
                return Outcome(self.blob, BlobOutcome.MOUNTED)
        else:
            self.resumed_at = self.session.offset
        while True:
            try:
                if self.session is None:
                    self.session = self._start()
                self._send(self.session)
                break
            except TransientError as trouble:
                self.attempts.failed(trouble.reason, trouble.retry_after)
                self.session = self._where(self.session)
            except UploadLost as lost:
                if there(self.client, self.blob):
                    break
                self.attempts.failed(str(lost))
                self.session = None
            if self.session is None and there(self.client, self.blob):
                break
        verify(self.client, self.blob, self.attempts)
        self.up.sessions.drop(self.blob)
        self.account.show(self.blob.size)
        return Outcome(self.blob, BlobOutcome.SENT, self.account.sent, self.resumed_at)

    def _resume(self) -> Session | None:
        saved = self.up.sessions.load(self.blob)
        if saved is not None and not self.client.transport.resolves(saved.location):
            saved = None
        session = self._where(saved)
        if saved is not None and session is None:
            self.client.console.say(
                f"{self.attempts.what}: the registry no longer knows the upload, so it starts again"
            )
        elif session is not None:
            percent = 100 * session.offset // max(self.blob.size, 1)
            self.client.console.say(f"{self.attempts.what}: resuming at byte {session.offset} ({percent} %)")
        return session

    def _where(self, session: Session | None) -> Session | None:
        """The registry's state of an upload; None if the upload must start again."""
        if session is None:
            return None
        found = self.client.status(session.location)
        if found is None or found.offset > self.blob.size:
            self.up.sessions.drop(self.blob)
            return None
        return self.account.advanced(replace(found, min_chunk=max(found.min_chunk, session.min_chunk)))

    def _start(self) -> Session:
        session = self.client.start()
        if self.blob.size > self.up.chunk:
            self.up.sessions.save(self.blob, session)
        self.account.show(0)
        return session

    def _send(self, session: Session) -> None:
        """Send the missing bytes and close the upload. After each chunk, keep the session for the next one.

        Errors: TransientError and UploadLost, after which the caller tries again.
        """
        if session.offset == 0 and self.blob.size <= max(self.up.chunk, session.min_chunk):
            self._close(session, whole=True)
            return
        self.reader.catch_up(session.offset)
        while session.offset < self.blob.size:
            if not self.up.chunks_work:
                self._without_chunks(session)
                return
            session = self._chunk(session, min(max(self.up.chunk, session.min_chunk), self.blob.size - session.offset))
            self.session = session  # the URL may be valid only for this offset, and the previous URL no longer
        self._close(session)

    def _without_chunks(self, session: Session) -> None:
        if session.offset > 0:
            self.client.cancel(session.location)
            raise UploadLost("the registry does not support chunks, so the blob is sent in one piece")
        self._close(session, whole=True)

    def _chunk(self, session: Session, length: int) -> Session:
        self.attempts.check()
        response = self.client.patch(session, length, self.account.body(session.offset, length))
        status = response.status_code
        if status in (201, 202, 204):
            after = self.client.after(response, session, session.offset + length)
            if after.offset > session.offset + length or after.offset <= session.offset:
                raise UploadLost(
                    f"the registry reports {after.offset} bytes after {session.offset} + {length} were sent"
                )
            after = self.account.advanced(after)
            self.up.sessions.save(self.blob, after)
            return after
        if status == 416:
            known = self._where(session)
            if known is None or known.offset == session.offset:
                self.client.cancel(session.location)
                raise UploadLost(f"the registry rejects the range from byte {session.offset}")
            self.reader.catch_up(known.offset)
            return known
        if status == 413:
            raise self._too_large(response, length)
        if session.offset == 0 and (status in NO_CHUNKS or "UNSUPPORTED" in error_text(response)):
            self.up.chunks_work = False
            return session
        if status in (404, 410) or (status == 400 and "BLOB_UPLOAD" in error_text(response)):
            raise UploadLost(f"the registry no longer knows the upload, at byte {session.offset}")
        raise self.client.refused("accept a chunk", response)

    def _close(self, session: Session, *, whole: bool = False) -> None:
        """Close the upload; if `whole`, together with the whole blob."""
        self.attempts.check()
        if whole:
            body = self.account.body(0, self.blob.size)
            response = self.client.finish(session, self.blob.digest, length=self.blob.size, body=body)
        else:
            self._sound(session)
            response = self.client.finish(session, self.blob.digest)
        if response.status_code == 413:
            raise self._too_large(response, self.blob.size)
        if whole:
            self._sound(session)  # a registry that does not verify may have accepted damaged bytes
        if response.status_code in (201, 204):
            self.client.same_digest(response, self.blob.digest)
            return
        if response.status_code in (404, 410) or "BLOB_UPLOAD" in error_text(response):
            raise UploadLost("the registry no longer knows the upload")
        if response.status_code == 416:
            raise TransientError("the registry did not receive all bytes")
        if "DIGEST" in error_text(response) and not self.rejected:
            self.rejected = True
            raise UploadLost(f"the registry received different bytes than were sent ({error_text(response)})")
        raise self.client.refused("close the upload", response)

    def _too_large(self, response: httpx.Response, length: int) -> Exception:
        """After a 413, which proxies with a size limit send, retry with half of the bytes, down to 1 MiB."""
        if not self.up.chunks_work or length <= SMALLEST_CHUNK:
            return self.client.refused(f"accept {size_text(length)} in one request", response)
        self.up.chunk = min(self.up.chunk, max(SMALLEST_CHUNK, length // 2))
        return TransientError(f"{size_text(length)} in one request is too much for the registry")

    def _sound(self, session: Session) -> None:
        """Check our own bytes. If the blob is damaged, cancel its upload."""
        try:
            self.reader.check()
        except Exception:
            self.client.cancel(session.location)
            self.up.sessions.drop(self.blob)
            raise
