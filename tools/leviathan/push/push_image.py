"""Uploads an image from its OCI layout to the registry: checks first, sends missing blobs, and sets the tag last."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from leviathan.errors import RegistryError
from leviathan.push.push_result import PushResult
from leviathan.registry.attempts import Backoff, Stopped
from leviathan.registry.credentials import first_credentials
from leviathan.registry.http_transport import Transport
from leviathan.registry.layout import Blob, Image, Manifest, load_image
from leviathan.registry.repository import Client
from leviathan.registry.sessions import Sessions, state_home
from leviathan.registry.upload import BlobOutcome, Outcome, Uploader
from leviathan.site.schema import Site
from leviathan.terminal.output import Console
from leviathan.terminal.progress import Meter, size_text

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class PushContext:
    """The context of a push: environment, console, the event that stops it, and the delays between attempts."""

    environ: Mapping[str, str]
    console: Console
    stop: threading.Event = field(default_factory=threading.Event)
    backoff: Backoff = field(default_factory=Backoff)


def connect(site: Site, around: PushContext, *, refusals: int | None = None) -> Client:
    """A client for the site's registry and repository.

    Argument: `refusals`, the number of retries if nothing listens there, by default `push.retries`.

    Errors: RegistryError if the credentials or the CA file cannot be read.
    """
    host = site.registry.host
    transport = Transport(
        host,
        plain_http=site.registry.plain_http,
        ca_file=site.registry.ca_file,
        credentials=first_credentials(host, site.image.repository, around.environ),
        timeout_s=site.push.timeout_s,
        connections=site.push.parallel,
        console=around.console,
        environ=around.environ,
    )
    return Client(
        transport,
        site.image.repository,
        retries=site.push.retries,
        refusals=refusals,
        stop=around.stop,
        console=around.console,
        backoff=around.backoff,
    )


def push(site: Site, around: PushContext, *, dry_run: bool = False) -> PushResult:
    """Push the image of `site.image.layout` to `site.registry.host`/`site.image.repository`:`site.image.tag`.

    With `dry_run`, it only checks, takes no lock and keeps no state. Blobs that it would send have the outcome MISSING.

    Errors: LayoutError, RegistryError; Stopped if `around.stop` was set, after the current chunks are complete.
    """
    image = load_image(Path(site.image.layout), site.image.tag)
    client = connect(site, around)
    work = _Push(site, image, client, around)
    try:
        if dry_run:
            return work.run(None)
        sessions = Sessions(state_home(around.environ), site.registry.host, site.image.repository)
        with sessions.locked(client.attempts("push"), around.console):
            return work.run(sessions)
    finally:
        client.transport.close()


class _Push:
    def __init__(self, site: Site, image: Image, client: Client, around: PushContext) -> None:
        self.site = site
        self.image = image
        self.client = client
        self.around = around

    def run(self, sessions: Sessions | None) -> PushResult:
        """Check, and send what is missing. Without `sessions`, only check."""
        began = self.around.console.clock()
        tag, top = self.site.image.tag, self.image.top
        looks: list[Callable[[], bool]] = [partial(self._has, blob) for blob in self.image.blobs]
        looks += [partial(self._known, each.digest, each.digest) for each in self.image.manifests]
        looks += [partial(self._known, tag, top.digest)]
        found = self._all(looks, lambda look: look())
        blobs_found, manifests_found = found[: len(self.image.blobs)], found[len(self.image.blobs) : -1]
        missing = [blob for blob, there in zip(self.image.blobs, blobs_found, strict=True) if not there]
        unsent = [each for each, there in zip(self.image.manifests, manifests_found, strict=True) if not there]
        dry_run = sessions is None
        if sessions is None:
            outcomes = {blob.digest: Outcome(blob, BlobOutcome.MISSING) for blob in missing}
        else:
            outcomes = self._upload(missing, sessions)
            for manifest in unsent:
                self._store(manifest.digest, manifest)
            if not found[-1]:
                self._store(tag, top)
        done = PushResult(
            reference=f"{self.site.registry.host}/{self.site.image.repository}:{tag}",
            digest=top.digest,
            image=self.image,
            outcomes=tuple(outcomes.get(blob.digest, Outcome(blob, BlobOutcome.PRESENT)) for blob in self.image.blobs),
            manifests_sent=len(unsent),
            tag_moved=not found[-1],
            seconds=self.around.console.clock() - began,
            dry_run=dry_run,
        )
        return replace(done, tags=tuple(self.client.tags())) if done.changed and not dry_run else done

    def _upload(self, missing: list[Blob], sessions: Sessions) -> dict[str, Outcome]:
        if not missing:
            return {}
        total = sum(blob.size for blob in missing)
        self.around.console.say(
            f"push: {len(missing)} of {len(self.image.blobs)} blobs to upload, {size_text(total)},"
            f" to {self.client.base.removesuffix('/v2/' + self.site.image.repository)}/{self.site.image.repository}"
        )
        with Meter(self.around.console, "push", total, heartbeat_s=self.site.push.heartbeat_s) as meter:
            uploader = Uploader(
                self.client,
                sessions,
                meter,
                chunk=self.site.push.chunk_mib << 20,
                mount_from=self.site.push.mount_from,
            )
            # The largest first, so that the last blob to finish is a small one.
            largest_first = sorted(missing, key=lambda blob: (-blob.size, blob.digest))
            done = self._all(largest_first, uploader.upload)
        return {each.blob.digest: each for each in done}

    def _all(self, items: list[T], work: Callable[[T], U]) -> list[U]:
        """Run `work` on all items, several in parallel. After the first failure, the others stop after their chunk."""
        with ThreadPoolExecutor(self.site.push.parallel, thread_name_prefix="push") as pool:
            futures: list[Future[U]] = [pool.submit(work, item) for item in items]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                if any(future.done() and future.exception() is not None for future in futures):
                    self._halt(futures)
            except BaseException:
                self._halt(futures)
                raise
        errors = [error for future in futures if not future.cancelled() and (error := future.exception()) is not None]
        if errors:
            # The error of the blob that failed is more useful than those of blobs stopped because of it.
            raise next((error for error in errors if not isinstance(error, Stopped)), errors[0])
        return [future.result() for future in futures]

    def _halt(self, futures: list["Future[U]"]) -> None:
        self.around.stop.set()
        for future in futures:
            future.cancel()

    def _has(self, blob: Blob) -> bool:
        present = self.client.head_blob(blob.digest)
        return present is not None and present.size in (None, blob.size)

    def _known(self, reference: str, digest: str) -> bool:
        present = self.client.head_manifest(reference)
        return present is not None and (present.digest == digest or (not present.digest and reference == digest))

    def _store(self, reference: str, manifest: Manifest) -> None:
        """Store a manifest, and check that the registry now has it."""
        self.client.put_manifest(reference, manifest)
        present = self.client.head_manifest(reference)
        if present is None or present.digest not in ("", manifest.digest):
            has = "nothing" if present is None else present.digest
            raise RegistryError(
                "the registry has a different manifest than the one that was stored",
                where=f"{self.client.base}/manifests/{reference}",
                why=f"expected {manifest.digest}, got {has}",
                remedy="check whether someone else pushes the same tag, then run leviathan push again",
            )
