"""Checks that the registry has the image, before the running engine is stopped for it.

The Deployment's strategy is Recreate. If the registry did not have the digest, the running engine would be stopped, and
only the kubelet would notice (ImagePullBackOff).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from leviathan.errors import RegistryError
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

if TYPE_CHECKING:
    from leviathan.registry.repository import Client

#: Seconds for an answer of the registry, and the number of retries.
TIMEOUT_S, RETRIES = 15, 1
CORRECT = "leviathan push, which uploads the image in image.layout; or set image.digest to a digest in the registry"


@contextmanager
def one_shot_client(site: Site, environ: Mapping[str, str], console: Console) -> Iterator["Client"]:
    """A client for one request to the site's registry. Errors: RegistryError if credentials or CA cannot be read."""
    from leviathan.push.push_image import PushContext, connect  # noqa: PLC0415 - the HTTP client is slow to import

    push = replace(site.push, retries=RETRIES, timeout_s=min(site.push.timeout_s, TIMEOUT_S))
    client = connect(replace(site, push=push), PushContext(environ, console))
    try:
        yield client
    finally:
        client.transport.close()


def not_in_registry(client: "Client", digest: str) -> RegistryError:
    """The error for a registry that answered that it does not have the manifest `digest`."""
    return RegistryError(
        "the registry does not have the image",
        where=f"{client.base}/manifests/{digest}",
        why="the new pod could not pull it",
        remedy=CORRECT,
    )


def check(image: str, site: Site, environ: Mapping[str, str], console: Console) -> None:
    """Check that the site's registry has `image` (repository@digest). Only warns if the registry cannot be reached.

    Errors: RegistryError if the registry answered that it does not have the image.
    """
    digest = image.rpartition("@")[2]
    try:
        with one_shot_client(site, environ, console) as client:
            found = client.head_manifest(digest)
    except RegistryError as error:
        console.say(f"warning: cannot check whether the registry has the image: {error.line()}")
        return
    if found is None:
        raise not_in_registry(client, digest)
