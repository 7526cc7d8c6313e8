"""Whether the registry has the image that is to run: asked before anything that runs is stopped for it.

The Deployment's strategy is Recreate: a digest that the registry does not have would end the running engine, and be
found out only by the kubelet (ImagePullBackOff).
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

#: Seconds for an answer of the registry, and failures in a row that are forgiven.
TIMEOUT_S, RETRIES = 15, 1
CORRECT = "leviathan push brings the image of image.layout there; or name a digest that the registry has (image.digest)"


@contextmanager
def one_shot_client(site: Site, environ: Mapping[str, str], console: Console) -> Iterator["Client"]:
    """A client for one question to the site's registry. Errors: RegistryError when credentials or CA cannot be read."""
    from leviathan.push.push_image import PushContext, connect  # noqa: PLC0415 - the HTTP client is slow to import

    push = replace(site.push, retries=RETRIES, timeout_s=min(site.push.timeout_s, TIMEOUT_S))
    client = connect(replace(site, push=push), PushContext(environ, console))
    try:
        yield client
    finally:
        client.transport.close()


def not_in_registry(client: "Client", digest: str) -> RegistryError:
    """The error for a registry that was asked and does not have the manifest `digest`."""
    return RegistryError(
        "the registry does not have the image",
        where=f"{client.base}/manifests/{digest}",
        why="a new pod could not pull it",
        remedy=CORRECT,
    )


def check(image: str, site: Site, environ: Mapping[str, str], console: Console) -> None:
    """Look whether the site's registry has `image` (repository@digest); where it cannot be asked, say so and go on.

    Errors: RegistryError when it was asked and does not have it.
    """
    digest = image.rpartition("@")[2]
    try:
        with one_shot_client(site, environ, console) as client:
            found = client.head_manifest(digest)
    except RegistryError as error:
        console.say(f"warning: not known whether the registry has the image: {error.line()}")
        return
    if found is None:
        raise not_in_registry(client, digest)
