"""Checks that the image layout is complete, the registry accepts pushes, and the node's CPU can run the image."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from leviathan.errors import LayoutError, RegistryError
from leviathan.preflight.check_result import CheckResult, FactUnavailable, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.preflight.march import better, choose
from leviathan.push.image_check import not_in_registry, one_shot_client
from leviathan.registry.layout import BUILD, Image, load_image
from leviathan.retry import TRANSIENT_STATUSES
from leviathan.terminal.progress import size_text

if TYPE_CHECKING:
    import httpx

    from leviathan.registry.repository import Client

#: The image's label that lists its CPU builds, best first.
MARCH = "leviathan.cpu.march"
#: A digest that does not match `{}` (it is that of the empty string), and the statuses that reject it as wrong.
NOT_ITS_DIGEST = f"sha256:{hashlib.sha256(b'').hexdigest()}"
REFUSED, REFUSAL = frozenset({400, 422}), re.compile("manifest|digest", re.I)


def image(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the image's layout exists and is complete, or that a digest is set."""
    site = facts.site
    if site.image.digest:
        yield ok(f"image.digest is set: {site.image.digest}")
        return
    found = layout_of(facts)
    yield ok(f"{site.image.layout}: {found.top.digest}, {len(found.blobs)} blobs, {size_text(found.size)}")


def registry(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the registry has the digest in image.digest, or, if that is not set, that it accepts pushes.

    To check the latter, sends a manifest that no registry may store. If the registry rejects it as invalid, it would
    accept a valid one. A read-only registry, or one that does not allow us to write, refuses earlier and for another
    reason. Nothing is left behind. Starting and cancelling an upload would be less clean: Debian's docker-registry
    keeps the state of its hash forever.
    """
    from leviathan.registry.responses import error_text  # noqa: PLC0415 - the HTTP client is slow to import

    digest = facts.site.image.digest
    with one_shot_client(facts.site, facts.environ, facts.console) as client:
        if digest:
            yield _has(client, digest)
            return
        answer = _refusal(client)
    if answer.status_code in REFUSED and REFUSAL.search(error_text(answer)):
        yield ok(f"{client.base} accepts pushes")
    elif answer.is_success:
        yield warning(
            f"{client.base} stored a manifest under a wrong digest, so it does not verify what it stores",
            f"use another registry; to delete that manifest: curl -X DELETE {client.base}/manifests/{NOT_ITS_DIGEST}",
        )
    else:
        raise client.refused("accept a push", answer)


def _has(client: "Client", digest: str) -> CheckResult:
    """Whether the registry has the digest. Errors: RegistryError if the registry answered that it does not."""
    try:
        found = client.head_manifest(digest)
    except RegistryError as error:
        return warning(f"unknown whether {client.base} has the image: {error.what}: {error.why}", error.remedy)
    if found is None:
        raise not_in_registry(client, digest)
    return ok(f"{client.base} has {digest}")


def _refusal(client: "Client") -> "httpx.Response":
    """The registry's answer to an empty manifest under a wrong digest. Errors: RegistryError."""
    from leviathan.registry.auth import scope  # noqa: PLC0415 - as above
    from leviathan.registry.failures import ConnectionFailed  # noqa: PLC0415
    from leviathan.registry.responses import error_text  # noqa: PLC0415

    attempts = client.attempts("check whether it accepts a push")
    while True:
        try:
            answer = client.transport.request(
                "PUT",
                f"{client.base}/manifests/{NOT_ITS_DIGEST}",
                scopes=(scope(client.repository, push=True),),
                headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json", "Content-Length": "2"},
                body=lambda: (b"{}",),
            )
        except ConnectionFailed as error:
            attempts.failed(error.words)
            continue
        if answer.status_code not in TRANSIENT_STATUSES:
            return answer
        attempts.failed(f"the registry answered {answer.status_code} {error_text(answer)}")


def march(facts: Facts) -> Iterator[CheckResult]:
    """Checks that one of the image's CPU builds runs on the node, by the labels of Node Feature Discovery."""
    by_hand = (
        f"talosctl -n {facts.site.cluster.address} read /proc/cpuinfo | grep -m1 ^flags; compare with the flags that "
        "each build needs in nix/ktransformers/march.json"
    )
    try:
        builds = labels_of(layout_of(facts)).get(MARCH, "").split()
    except LayoutError as error:
        raise FactUnavailable(f"the image cannot be read ({error.what})") from None
    if not builds:
        yield warning(f"unknown: the image has no label {MARCH}", by_hand)
        return
    labels = facts.node()["metadata"].get("labels") or {}
    chosen, why = choose(builds, labels)
    if chosen is None:
        yield warning(f"unknown: {why} (the image has {', '.join(builds)})", by_hand)
        return
    if not chosen:
        yield problem(
            f"{facts.node_name()} cannot run any of the image's CPU builds: {why}",
            "add a suitable march to nix/settings.nix (x86-64-v3 or x86-64-v2), then nix build .#leviathan-image",
        )
        return
    said = f"{facts.node_name()} can run {chosen}{f' ({why})' if why else ''}"
    if more := better(chosen, labels):
        yield warning(
            f"{said}, which does not use the CPU's AVX-512; a build for {more} would be faster",
            f'put "{more}" first in march of nix/settings.nix, then nix build .#leviathan-image',
        )
    else:
        yield ok(said)


def labels_of(image: Image) -> Mapping[str, str]:
    """The labels in the image's configuration (of the first of several platforms). Errors: LayoutError."""
    manifest = json.loads(image.manifests[0].body)
    digest = manifest["config"]["digest"]
    path = next(blob.path for blob in image.blobs if blob.digest == digest)
    try:
        config = json.loads(path.read_bytes()).get("config") or {}
    except (OSError, ValueError, AttributeError) as error:
        raise LayoutError(
            "the image's configuration cannot be read", where=str(path), why=str(error), remedy=BUILD
        ) from None
    found: Mapping[str, str] = config.get("Labels") or {}
    return found


def layout_of(facts: Facts) -> Image:
    """The image's layout, read once. Errors: LayoutError."""
    where = facts.site.image
    return facts.once("layout", lambda: load_image(Path(where.layout), where.tag))
