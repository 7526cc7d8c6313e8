"""What the tests of a push to a registry that breaks share: the push itself, and what must be there after it."""

from pathlib import Path

from fakes.fault_registry import FaultRegistry
from push_support import REPOSITORY, TAG, Layout, make_around, make_site

from leviathan.push.push_image import push
from leviathan.push.push_result import PushResult


def run(registry: FaultRegistry, layout: Layout, home: Path, **named: str) -> tuple[PushResult, str]:
    around, talk = make_around(home)
    return push(make_site(registry.host, layout, **named), around), talk.getvalue()


def holds(registry: FaultRegistry, layout: Layout, repository: str = REPOSITORY) -> bool:
    """Whether the registry has the layout's bytes, under its tag."""
    return all(
        registry.blobs.get((repository, digest)) == layout.bytes_of(digest) for digest in layout.blobs
    ) and registry.manifests[repository, TAG][1] == layout.bytes_of(layout.digest)
