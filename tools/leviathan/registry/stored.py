"""Whether a repository has a blob: by now, by a link from another repository, and as it was sent."""

from collections.abc import Iterable

from leviathan.errors import RegistryError
from leviathan.oci.layout import Blob
from leviathan.registry.attempts import Attempts
from leviathan.registry.client import Client


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
