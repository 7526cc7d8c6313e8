"""What the tests of the fetcher share: a server on loopback, the checkout, children of their own."""

from collections.abc import Iterator
from pathlib import Path

import checkouts
import pytest
from http_site import Site, serving

from leviathan_fetch import process

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line that a test ran in this process has stopped its children for good; the next test has its own."""
    monkeypatch.setattr(process, "CHILDREN", process.Children())


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that runs during a test."""
    with serving() as state:
        yield state


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def checkout(site: Site, root: Path, tmp_path: Path) -> checkouts.Checkout:
    """A checkout to run the command line in."""
    return checkouts.make(site, root, tmp_path)
