"""Lists the files to download, from a Hugging Face repository or from a list of addresses.

Source of the hub's interface: "Hub API Endpoints" (models/REPO/revision/REV, models/REPO/tree/REV); an `lfs` entry's
`oid` is the file's SHA-256 (git-lfs specification, pointer files).
"""

import fnmatch
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from .errors import DownloadError
from .retry import Retry
from .web import Web, host_of

#: Maximum number of pages of a file list.
PAGES = 1000
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """One file: `name` below the model's folder, its `url`, `size` in bytes, `sha256` and `etag` or empty strings.

    `ranges`: whether the server supports range requests.
    """

    name: str
    url: str
    size: int
    sha256: str = ""
    etag: str = ""
    ranges: bool = True


def hub_files(
    web: Web, retry: Retry, hub: str, repository: str, revision: str, include: Sequence[str]
) -> list[RemoteFile]:
    """Returns the files of a repository whose paths match one of `include` (shell patterns), by name.

    Resolves the revision to a commit first, so that all files have the same version. Names are relative to the common
    folder of the files. Errors: DownloadError.
    """
    about, _ = retry.run(lambda: web.document(f"{hub}/api/models/{repository}/revision/{quote(revision, safe='')}"))
    commit = about.get("sha") if isinstance(about, dict) else None
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        raise DownloadError(f"{hub}: the answer about {repository} has no commit", "check the address of the hub")
    entries: list[Any] = []
    page = f"{hub}/api/models/{repository}/tree/{commit}?recursive=true"
    for _ in range(PAGES):
        address = page
        found, page = retry.run(lambda: web.document(address))  # noqa: B023 - run at once
        entries += found if isinstance(found, list) else []
        if not page:
            break
    paths = {str(each["path"]): each for each in entries if isinstance(each, dict) and each.get("type") == "file"}
    chosen = sorted(path for path in paths if any(fnmatch.fnmatchcase(path, pattern) for pattern in include))
    if not chosen:
        ggufs = sorted({posixpath.dirname(path) or "." for path in paths if path.endswith(".gguf")})
        raise DownloadError(
            f"{repository} at {commit[:12]} has no file that matches {', '.join(include)}; "
            f"folders with GGUF files: {', '.join(ggufs[:20]) or 'none'}",
            "set model.include to one of them, such as 'FOLDER/*.gguf'",
        )
    top = posixpath.commonpath([posixpath.dirname(path) for path in chosen]) if chosen else ""
    files = []
    for path in chosen:
        lfs = paths[path].get("lfs") or {}
        size, digest = lfs.get("size", paths[path].get("size")), str(lfs.get("oid", "")).removeprefix("sha256:")
        if type(size) is not int or size < 0:
            raise DownloadError(
                f"{repository}: {path}: expected a size in bytes, got {size!r:.40}", "check the address of the hub"
            )
        name = posixpath.relpath(path, top) if top else path
        url = f"{hub}/{repository}/resolve/{commit}/{quote(path)}"
        files.append(RemoteFile(checked(name), url, size, digest if SHA256.fullmatch(digest) else ""))
    return files


def url_files(web: Web, retry: Retry, urls: Sequence[str]) -> list[RemoteFile]:
    """Returns the files at `urls`, which may end in `#sha256=DIGEST`; asks for their sizes. Errors: DownloadError."""
    files = [retry.run(lambda: _probe(web, url)) for url in urls]  # noqa: B023 - run at once
    names = [each.name for each in files]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DownloadError(f"two addresses have the same file name, {min(twice)}", "give each file once in model.urls")
    return sorted(files, key=lambda each: each.name)


def _probe(web: Web, url: str) -> RemoteFile:
    """Asks the server for a file's size and version, and whether it supports range requests (RFC 9110, 14)."""
    address, _, fragment = url.partition("#")
    digest = fragment.removeprefix("sha256=")
    if fragment and not SHA256.fullmatch(digest):
        raise DownloadError(
            f"{url}: expected #sha256= and 64 hexadecimal digits, got {fragment!r}", "correct model.urls"
        )
    name = checked(posixpath.basename(unquote(urlsplit(address).path)))
    with web.open(address, Range="bytes=0-0") as answer:
        etag = answer.headers.get("ETag", "")
        found = RemoteFile(name, address, 0, digest, "" if etag.startswith("W/") else etag)
        if answer.status == 206 and (total := total_of(answer.headers.get("Content-Range", ""))) is not None:
            return replace(found, size=total)
        if answer.length is None:
            raise DownloadError(f"{host_of(url)} does not send the size of {name}", "choose another source")
        return replace(found, size=answer.length, ranges=False)


def total_of(text: str) -> int | None:
    """Returns the file's size from a Content-Range header, None if it has none."""
    match = re.fullmatch(r"bytes \d+-\d+/(\d+)", text.strip())
    return int(match[1]) if match else None


def checked(name: str) -> str:
    """Returns `name` if it is a path below the model's folder. Errors: DownloadError."""
    parts = name.split("/")
    if not name.isprintable() or any(part in ("", ".", "..") for part in parts) or parts[0].startswith(".leviathan"):
        raise DownloadError(
            f"the file name {name!r:.120} points outside the model's folder", "choose another source or revision"
        )
    return name
