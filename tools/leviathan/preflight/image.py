"""The image and the registry: the layout is whole, the registry takes uploads, the node's CPU can run a build in it."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from leviathan.errors import LayoutError
from leviathan.oci.layout import Image, load_image
from leviathan.preflight.facts import Facts
from leviathan.preflight.finding import Finding, NotAsked, ok, problem, warning
from leviathan.preflight.march import choose
from leviathan.progress import size_text

#: The image's label with its builds for CPUs, best first.
MARCH = "leviathan.cpu.march"
#: Seconds for an answer of the registry, and failures in a row that are forgiven.
TIMEOUT_S, RETRIES = 15, 1


def image(facts: Facts) -> Iterator[Finding]:
    """The image's layout is there and whole, or a digest is named."""
    site = facts.site
    if site.image.digest:
        yield ok(f"the digest is given: {site.image.digest}")
        return
    found = _layout(facts)
    yield ok(f"{site.image.layout}: {found.top.digest}, {len(found.blobs)} blobs, {size_text(found.size)}")


def registry(facts: Facts) -> Iterator[Finding]:
    """The registry is reached and takes uploads: one is begun and given up again, no byte is sent."""
    from leviathan.push import Around, connect  # noqa: PLC0415 - the HTTP client is slow to import

    site = facts.site
    hasty = dataclasses.replace(site.push, retries=RETRIES, timeout_s=min(site.push.timeout_s, TIMEOUT_S))
    client = connect(dataclasses.replace(site, push=hasty), Around(facts.environ, facts.console))
    try:
        begun = client.start()
        client.cancel(begun.location)
        left = client.status(begun.location)
    finally:
        client.transport.close()
    if left is not None:
        yield warning(
            f"{client.base} takes uploads, but does not give one up: an empty one stays until the registry cleans up",
            "allow DELETE on uploads in the registry's proxy, if there is one",
        )
    else:
        yield ok(f"{client.base} takes uploads")


def march(facts: Facts) -> Iterator[Finding]:
    """One of the image's builds runs on the node's CPU, where labels of Node Feature Discovery tell."""
    by_hand = (
        f"talosctl -n {facts.site.cluster.address} read /proc/cpuinfo | grep -m1 ^flags; what each build needs: "
        "nix/ktransformers/march.json"
    )
    try:
        builds = labels_of(_layout(facts)).get(MARCH, "").split()
    except LayoutError as error:
        raise NotAsked(f"the image cannot be read ({error.what})") from None
    if not builds:
        yield warning(f"not known: the image has no label {MARCH}", by_hand)
        return
    chosen, why = choose(builds, facts.node()["metadata"].get("labels") or {})
    if chosen is None:
        yield warning(f"not known: {why} (the image has {', '.join(builds)})", by_hand)
    elif chosen:
        yield ok(f"{facts.site.cluster.node} can run {chosen}{f' ({why})' if why else ''}")
    else:
        yield problem(
            f"{facts.site.cluster.node} can run none of the image's builds: {why}",
            "add a march that fits to nix/settings.nix (x86-64-v3 or x86-64-v2) and build the image again",
        )


def labels_of(image: Image) -> Mapping[str, str]:
    """The labels in the image's configuration (of the first of several platforms). Errors: LayoutError."""
    manifest = json.loads(image.manifests[0].body)
    digest = manifest["config"]["digest"]
    path = next(blob.path for blob in image.blobs if blob.digest == digest)
    try:
        config = json.loads(path.read_bytes()).get("config") or {}
    except (OSError, ValueError, AttributeError) as error:
        raise LayoutError(
            "the image's configuration cannot be read", where=str(path), why=str(error), remedy="build the image again"
        ) from None
    found: Mapping[str, str] = config.get("Labels") or {}
    return found


def _layout(facts: Facts) -> Image:
    where = facts.site.image
    return facts.once("layout", lambda: load_image(Path(where.layout), where.tag))
