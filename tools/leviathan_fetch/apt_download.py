"""Download packages with apt's own transports, by pool path; apt resumes what is there and checks the hash."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_fetch import process
from leviathan_fetch.apt import HELPER, Apt, failure, host_mirrors, mirrors_of
from leviathan_fetch.errors import FetchError


@dataclass(frozen=True)
class Wanted:
    """One package file: the suite that has it, its path below the mirror's address, its hash, and where to put it."""

    suite: str
    filename: str
    sha256: str
    target: Path


def argv(apt: Apt, items: Sequence[tuple[str, Wanted]]) -> list[str]:
    """The apt-helper call that downloads each (mirror address, item)."""
    words = [
        word
        for mirror, item in items
        for word in (f"{mirror}/{item.filename}", str(item.target), f"SHA256:{item.sha256}")
    ]
    return apt.argv(HELPER, "download-file", *words)


def download(apt: Apt, items: Sequence[Wanted], keep_open: Sequence[int] = ()) -> None:
    """Bring every item to its target, from the first of the host's mirrors that has it.

    `keep_open`: file descriptors that apt inherits. Errors: FetchError with apt's words for the last mirror tried.
    """
    mirrors = host_mirrors()
    left = list(items)
    for turn in range(max(len(mirrors_of(item.suite, mirrors)) for item in left)):
        call = [(found[turn].uri, item) for item in left if len(found := mirrors_of(item.suite, mirrors)) > turn]
        done = process.run(argv(apt, call), check=False, keep_open=keep_open)
        if done.status == 0:
            return
        last = failure("apt cannot download " + ", ".join(item.target.name for _, item in call[:3]), done)
        left = [item for _, item in call if not item.target.exists()]
        if not left:
            return
    raise last if left else FetchError("apt failed")
