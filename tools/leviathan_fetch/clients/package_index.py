"""A package index read without pip: PEP 691 (JSON), or PEP 503 (HTML) from a server that has no JSON."""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from leviathan_fetch.clients import http as web
from leviathan_fetch.errors import FetchError

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True)
class File:
    """A file that the index lists: its name, its address, its sha256 (empty when the index states none)."""

    filename: str
    url: str
    sha256: str


def project_url(index_url: str, project: str) -> str:
    """The address of a project's page (PEP 503: names in lower case, runs of ``-_.`` are one hyphen)."""
    return f"{index_url.rstrip('/')}/{re.sub('[-_.]+', '-', project).lower()}/"


def parse_json(text: str, base: str) -> list[File]:
    """The files on a PEP 691 page whose address is `base`. Errors: ValueError when it is not such a page."""
    page = json.loads(text)
    if not isinstance(page, dict) or not isinstance(page.get("files"), list):
        raise ValueError("it has no list of files")
    return [
        File(item["filename"], urljoin(base, item["url"]), item.get("hashes", {}).get("sha256", ""))
        for item in page["files"]
    ]


class Anchors(HTMLParser):
    """The addresses of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def parse_html(text: str, base: str) -> list[File]:
    """The files on a PEP 503 page whose address is `base`."""
    anchors = Anchors()
    anchors.feed(text)
    files = []
    for href in anchors.found:
        parts = urlsplit(urljoin(base, href))
        digest = parts.fragment.removeprefix("sha256=") if parts.fragment.startswith("sha256=") else ""
        name = unquote(PurePosixPath(parts.path).name)
        files.append(File(name, parts._replace(fragment="").geturl(), digest))
    return files


def find(index_url: str, project: str, filename: str, sha256: str) -> str:
    """The address of `filename` of `project`.

    Errors: FetchError when the index lacks it, has it with another hash only, or is not an index.
    """
    page = project_url(index_url, project)
    body, kind, base = web.read(page, ACCEPT)
    try:
        text = body.decode("utf-8")
        files = parse_json(text, base) if kind.endswith("json") else parse_html(text, base)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        where = web.public(page)
        raise FetchError(f"{where} is not a page of a package index: {error}", "correct --index-url") from None
    named = [file for file in files if file.filename == filename]
    fitting = [file for file in named if file.sha256 in ("", sha256)]
    if fitting:
        return fitting[0].url
    if named:
        got = named[0].sha256
        text = f"{filename}: expected the hash {sha256} from the lock, the index has {got}"
        raise FetchError(text, "make lock, if you trust the index", "hash")
    raise FetchError(f"{web.public(page)} does not list {filename}", "make lock", "gone")
