"""Gets one blob into the registry: look, mount, resume or start, send in chunks, close, look again.

Each failure leads back to one question, "how far is it?" (GET on the upload), and the answer decides: go on at that
byte, or start again when the registry has forgotten the upload.
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
    """Whether the blob has arrived after all, as when only the last answer was lost. Errors: RegistryError."""
    return client.head_blob(blob.digest) is not None


def mounted(client: Client, blob: Blob, sources: Iterable[str]) -> bool:
    """Have the blob linked from the first of `sources`, other repositories, that has it; whether one had.

    What a registry refuses here is no error: the blob is then sent.
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
    """Ask for the blob and compare digest and size. Errors: RegistryError."""
    present = client.head_blob(blob.digest)
    while present is None:
        attempts.failed("the blob is not there yet")
        present = client.head_blob(blob.digest)
    wrong_size = present.size is not None and present.size != blob.size
    if wrong_size or (present.digest and present.digest != blob.digest):
        raise RegistryError(
            "the registry has another blob than was sent",
            where=client.base,
            why=f"{present.digest}, {present.size} bytes instead of {blob.digest}, {blob.size} bytes",
            remedy="check the registry's storage, and what stands between here and it",
        )


class BlobOutcome(Enum):
    """How a blob came to be in the registry; MISSING only where nothing was to be changed (a dry run)."""

    PRESENT = "present"
    MOUNTED = "mounted"
    SENT = "sent"
    MISSING = "missing"


@dataclass(frozen=True)
class Outcome:
    """What was done for one blob: `sent` bytes went out, from byte `resumed_at`, which an earlier run had reached."""

    blob: Blob
    how: BlobOutcome
    sent: int = 0
    resumed_at: int = 0


SMALLEST_CHUNK = 1 << 20
#: What a registry without chunk support answers to a PATCH.
NO_CHUNKS = frozenset({405, 415, 501})


class UploadLost(Exception):
    """The registry does not know the upload (any more), or holds other bytes than ours: it starts again."""


class Uploader:
    """Uploads blobs to one repository; safe to use from several threads, one blob in each.

    Arguments: `chunk`, bytes in one request; `mount_from`, other repositories that may hold the blob; `meter` shows
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
        """Get `blob`, which the registry lacks, into it.

        Errors: RegistryError, LayoutError, Stopped.
        """
        with BlobReader(blob) as reader:
            return _Upload(self, blob, reader).run()


class _Upload:
    """One blob on its way; `session` is its upload as the registry's latest answer has it, None before it is begun."""

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
            self.client.console.say(f"{self.attempts.what}: the registry has forgotten the upload, it starts again")
        elif session is not None:
            percent = 100 * session.offset // max(self.blob.size, 1)
            self.client.console.say(f"{self.attempts.what}: going on at byte {session.offset} ({percent} %)")
        return session

    def _where(self, session: Session | None) -> Session | None:
        """Where the registry stands with an upload; None when it starts again."""
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
        """Send what is missing and close the upload, noting after each chunk where the next one goes.

        Errors: TransientError and UploadLost lead to another round.
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
            self.session = session  # the address may be good for this offset only, and the last one for none
        self._close(session)

    def _without_chunks(self, session: Session) -> None:
        if session.offset > 0:
            self.client.cancel(session.location)
            raise UploadLost("the registry takes no chunks, the blob goes in one piece")
        self._close(session, whole=True)

    def _chunk(self, session: Session, length: int) -> Session:
        self.attempts.check()
        response = self.client.patch(session, length, self.account.body(session.offset, length))
        status = response.status_code
        if status in (201, 202, 204):
            after = self.client.after(response, session, session.offset + length)
            if after.offset > session.offset + length or after.offset <= session.offset:
                raise UploadLost(
                    f"the registry counts {after.offset} bytes after {session.offset} + {length} were sent"
                )
            after = self.account.advanced(after)
            self.up.sessions.save(self.blob, after)
            return after
        if status == 416:
            known = self._where(session)
            if known is None or known.offset == session.offset:
                self.client.cancel(session.location)
                raise UploadLost(f"the registry refuses the range from byte {session.offset} and names no other")
            self.reader.catch_up(known.offset)
            return known
        if status == 413:
            raise self._too_large(response, length)
        if session.offset == 0 and (status in NO_CHUNKS or "UNSUPPORTED" in error_text(response)):
            self.up.chunks_work = False
            return session
        if status in (404, 410) or (status == 400 and "BLOB_UPLOAD" in error_text(response)):
            raise UploadLost(f"the registry has forgotten the upload at byte {session.offset}")
        raise self.client.refused("take a chunk", response)

    def _close(self, session: Session, *, whole: bool = False) -> None:
        """Close the upload, sending the blob with it when `whole`."""
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
            self._sound(session)  # a registry that does not check may have taken damaged bytes
        if response.status_code in (201, 204):
            self.client.same_digest(response, self.blob.digest)
            return
        if response.status_code in (404, 410) or "BLOB_UPLOAD" in error_text(response):
            raise UploadLost("the registry has forgotten the upload")
        if response.status_code == 416:
            raise TransientError("the registry misses bytes")
        if "DIGEST" in error_text(response) and not self.rejected:
            self.rejected = True
            raise UploadLost(f"the registry received other bytes than were sent ({error_text(response)})")
        raise self.client.refused("close the upload", response)

    def _too_large(self, response: httpx.Response, length: int) -> Exception:
        """After a 413, which a proxy with a limit sends: try with half of the bytes, down to 1 MiB."""
        if not self.up.chunks_work or length <= SMALLEST_CHUNK:
            return self.client.refused(f"take {size_text(length)} in one request", response)
        self.up.chunk = min(self.up.chunk, max(SMALLEST_CHUNK, length // 2))
        return TransientError(f"{size_text(length)} in one request are too many for the registry")

    def _sound(self, session: Session) -> None:
        """Check our own bytes; a damaged blob must not lie about as an upload."""
        try:
            self.reader.check()
        except Exception:
            self.client.cancel(session.location)
            self.up.sessions.drop(self.blob)
            raise
