"""The requests of a push to one repository, one method per request.

Source: OCI distribution specification 1.1, "Push". Requests without blob bytes are retried here. Those with blob bytes
are not, because the caller must first ask the registry for the upload's offset.
"""

import re
import threading
from collections.abc import Mapping
from urllib.parse import urlencode

import httpx

from leviathan.errors import RegistryError
from leviathan.registry.attempts import Attempts, Backoff, TransientError
from leviathan.registry.auth import scope
from leviathan.registry.failures import ConnectionFailed, bad_answer
from leviathan.registry.http_transport import Body, Transport
from leviathan.registry.layout import Manifest
from leviathan.registry.responses import (
    Present,
    Session,
    error_text,
    natural,
    parsed,
    present,
    received,
    registry_errors,
    with_digest,
)
from leviathan.retry import TRANSIENT_STATUSES
from leviathan.terminal.output import Console

#: Valid tags (OCI distribution specification 1.1, "Pulling manifests"), and the maximum pages of a list of tags.
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
PAGES = 200
OCTETS = {"Content-Type": "application/octet-stream"}
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class Client:
    """One repository of a registry.

    Arguments: `retries`, the number of retries in a row; `refusals`, the number if nothing listens there, by default
    the same; `stop` ends waiting; `backoff` for tests.
    """

    def __init__(
        self,
        transport: Transport,
        repository: str,
        *,
        retries: int,
        refusals: int | None = None,
        stop: threading.Event,
        console: Console,
        backoff: Backoff | None = None,
    ) -> None:
        self.transport = transport
        self.repository = repository
        self.retries = retries
        self.refusals = refusals
        self.stop = stop
        self.console = console
        self.backoff = backoff if backoff is not None else Backoff()
        self.base = f"{transport.base}/v2/{repository}"
        self._scopes = (scope(repository, push=True),)

    def attempts(self, what: str) -> Attempts:
        """A new retry count for the operation `what`."""
        return Attempts(
            what,
            where=self.base,
            limit=self.retries,
            refusals=self.refusals,
            stop=self.stop,
            console=self.console,
            backoff=self.backoff,
        )

    def head_blob(self, digest: str, repository: str | None = None) -> Present | None:
        """The blob, if the registry has it in this (or another) repository."""
        other = (scope(repository, push=False),) if repository else ()
        url = f"{self.transport.base}/v2/{repository or self.repository}/blobs/{digest}"
        response = self._steady("check for a blob", "HEAD", url, {200, 404}, scopes=(*self._scopes, *other))
        return present(response) if response.status_code == 200 else None

    def head_manifest(self, reference: str) -> Present | None:
        """The manifest that a tag or digest names, if the registry has it."""
        response = self._steady(
            "check for the manifest",
            "HEAD",
            f"{self.base}/manifests/{reference}",
            {200, 404},
            headers={"Accept": ACCEPT},
        )
        return present(response) if response.status_code == 200 else None

    def put_manifest(self, reference: str, manifest: Manifest) -> None:
        """Store a manifest under a tag or its digest.

        Errors: RegistryError if the registry refuses it, or stores it under another digest.
        """
        response = self._steady(
            "store the manifest",
            "PUT",
            f"{self.base}/manifests/{reference}",
            {201},
            headers={"Content-Type": manifest.media_type, "Content-Length": str(len(manifest.body))},
            body=lambda: (manifest.body,),
        )
        self.same_digest(response, manifest.digest)

    def tags(self) -> list[str]:
        """All tags of the repository, sorted. Follows up to 200 pages.

        Errors: RegistryError, also for pages in a loop, too many pages, or invalid tags.
        """
        found: set[str] = set()
        seen: set[str] = set()
        url: str | None = f"{self.base}/tags/list"
        while url is not None:
            if url in seen or len(seen) == PAGES:
                raise bad_answer(self.base, f"a list of tags that does not end after {len(seen)} pages")
            seen.add(url)
            response = self._steady("list the tags", "GET", url, {200, 404})
            if response.status_code == 404:
                if not registry_errors(response):  # a web server, and no registry that lacks the repository
                    raise self.refused("list the tags", response)
                break
            page = parsed(response)
            tags = page.get("tags") or [] if isinstance(page, dict) else None
            if not isinstance(tags, list):
                raise self.refused("list the tags", response)
            for tag in tags:
                if not isinstance(tag, str) or not TAG.fullmatch(tag):
                    raise bad_answer(self.base, f"an invalid tag: {tag!r:.150}")
            found.update(tags)
            after = response.links.get("next", {}).get("url")
            url = self.transport.resolve(after) if after else None
        return sorted(found)

    def mount(self, digest: str, source: str) -> Session | None:
        """Mount a blob from another repository. None on success, else the upload that the registry opened instead."""
        scopes = (*self._scopes, scope(source, push=False))
        url = f"{self.base}/blobs/uploads/?{urlencode({'mount': digest, 'from': source})}"
        response = self._steady("mount a blob", "POST", url, {201, 202}, headers={"Content-Length": "0"}, scopes=scopes)
        if response.status_code == 201:
            self.same_digest(response, digest)
            return None
        return self._session(response, 0)

    def start(self) -> Session:
        """Open an upload."""
        url = f"{self.base}/blobs/uploads/"
        return self._session(self._steady("start an upload", "POST", url, {202}, headers={"Content-Length": "0"}), 0)

    def status(self, location: str) -> Session | None:
        """The state of an upload; None if the registry does not know it (any longer)."""
        response = self._steady("ask for the upload's status", "GET", location, {200, 204, 400, 404, 405, 410})
        if response.status_code not in (200, 204) or "range" not in response.headers:
            return None
        return self._session(response, 0, location)

    def cancel(self, location: str) -> None:
        """Cancel an upload. If the registry cannot cancel, it cleans up later."""
        try:
            self.transport.request("DELETE", location, scopes=self._scopes)
        except (ConnectionFailed, RegistryError) as error:
            self.console.debug(f"cannot cancel an upload: {error}")

    def patch(self, session: Session, length: int, body: Body) -> httpx.Response:
        """Send `length` bytes from the session's offset.

        Errors: TransientError if the attempt may be retried, after asking for the status.
        """
        last = session.offset + length - 1
        headers = {**OCTETS, "Content-Length": str(length), "Content-Range": f"{session.offset}-{last}"}
        return self._once("PATCH", session.location, headers, body)

    def finish(self, session: Session, digest: str, *, length: int = 0, body: Body | None = None) -> httpx.Response:
        """Close an upload; if `body` is given, with the blob's `length` bytes (a monolithic upload).

        Errors: TransientError if the attempt may be retried, after asking for the status.
        """
        headers = {**OCTETS, "Content-Length": str(length)}
        return self._once("PUT", with_digest(session.location, digest), headers, body)

    def after(self, response: httpx.Response, session: Session, sent_to: int) -> Session:
        """The session after an answer; `sent_to` is its offset if the registry does not tell it."""
        return self._session(response, sent_to, session.location, session.min_chunk)

    def same_digest(self, response: httpx.Response, digest: str) -> None:
        """Check the digest of what the registry stored.

        Errors: RegistryError if its Docker-Content-Digest header has another digest.
        """
        found = response.headers.get("docker-content-digest", digest)
        if found != digest:
            raise RegistryError(
                "the registry stored different content than was sent",
                where=self.base,
                why=f"expected {digest}, got {found}",
                remedy="check the registry's storage, and proxies between here and the registry",
            )

    def refused(self, what: str, response: httpx.Response) -> RegistryError:
        """The error for an answer that a retry cannot change."""
        return RegistryError(
            f"the registry refuses to {what}",
            where=self.base,
            why=f"{response.status_code} {error_text(response)}",
            remedy=f"check the registry's log; to test it by hand: curl -i {self.transport.base}/v2/",
        )

    def _session(self, response: httpx.Response, offset: int, location: str = "", min_chunk: int = 0) -> Session:
        target = response.headers.get("location", location)
        if not target:
            raise self.refused("open an upload", response)
        told = received(response.headers)
        smallest = natural(response.headers.get("oci-chunk-min-length", ""))
        return Session(
            self.transport.resolve(target),
            offset if told is None else told,
            min_chunk if smallest is None else smallest,
        )

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: Body | None,
        scopes: tuple[str, ...] | None = None,
    ) -> httpx.Response:
        try:
            response = self.transport.request(method, url, scopes=scopes or self._scopes, headers=headers, body=body)
        except ConnectionFailed as error:
            raise TransientError(error.words, refused=error.refused) from None
        if response.status_code in TRANSIENT_STATUSES:
            reason = f"the registry answered {response.status_code} {error_text(response)}"
            raise TransientError(reason, response.headers.get("retry-after"))
        return response

    def _steady(
        self,
        what: str,
        method: str,
        url: str,
        good: set[int],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        scopes: tuple[str, ...] | None = None,
    ) -> httpx.Response:
        attempts = self.attempts(what)
        while True:
            attempts.check()
            try:
                response = self._once(method, url, headers, body, scopes)
            except TransientError as trouble:
                attempts.failed(trouble.reason, trouble.retry_after, refused=trouble.refused)
                continue
            if response.status_code not in good:
                raise self.refused(what, response)
            return response
