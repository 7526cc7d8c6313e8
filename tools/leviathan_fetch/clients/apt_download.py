"""Download packages with apt's own transports, by pool path.

`apt-helper download-file` knows the host's proxies, certificates and credentials, needs no package lists, and resumes
where a file ends (tried with apt 2.6 and 3.0). A file with a wrong hash it renames to `*.FAILED`.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from leviathan_fetch import process
from leviathan_fetch.clients.apt import HELPER, Apt, failure, host_mirrors, mirrors_of
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


def download(apt: Apt, items: Sequence[Wanted], keep_open: Sequence[int] = ()) -> dict[Path, FetchError]:
    """Bring every item to its target, from the first of the host's mirrors that has it; target → error for the rest.

    A file with a wrong hash does come to its target: the caller compares hashes, and can say what it got.
    `keep_open`: file descriptors that apt inherits.
    """
    mirrors = host_mirrors()
    left = list(items)
    errors: dict[Path, FetchError] = {}
    for turn in range(max(len(mirrors_of(item.suite, mirrors)) for item in items)):
        call = [(found[turn].uri, item) for item in left if len(found := mirrors_of(item.suite, mirrors)) > turn]
        done = process.fetching(argv(apt, call), check=False, keep_open=keep_open)
        left = []
        for _, item in call:
            if done.status != 0 and not arrived(done, item):
                left.append(item)
                about = item.filename.rsplit("/", 1)[-1]
                errors[item.target] = failure(f"apt cannot download {about}", done, about)
            else:
                errors.pop(item.target, None)
                settle(item.target)
        if not left:
            break
    return errors


def arrived(done: process.Done, item: Wanted) -> bool:
    """Whether apt brought the item although its call failed: no error names it, or its hash is all that is wrong."""
    if item.target.with_name(item.target.name + ".FAILED").exists():
        return True
    return item.target.exists() and f"/{unquote(item.filename)}" not in unquote(done.stderr)


def settle(target: Path) -> None:
    """Make `target` a plain file: not the `*.FAILED` one, nor the link that apt makes to a mirror on a local disk."""
    failed = target.with_name(target.name + ".FAILED")
    if failed.exists():
        failed.replace(target)
    if target.is_symlink():
        source = target.resolve()
        target.unlink()
        shutil.copyfile(source, target)
