"""Downloads by pip and apt from servers that drip, stall, or never end: each is given up in time, in one line."""

import hashlib
import json
import re
import shutil
import time
from pathlib import Path

import pytest
from http_site import HEAD, Site, endless

from leviathan_fetch import process
from leviathan_fetch.clients import apt, apt_download, http, pip_client
from leviathan_fetch.clients.apt_sources import Entry
from leviathan_fetch.clients.pip_client import Answer, PipWorker, Task
from leviathan_fetch.errors import FetchError
from leviathan_fetch.locks import poetry as lock_poetry
from leviathan_fetch.project import Project

pytestmark = pytest.mark.skipif(pip_client.find_python() is None, reason="this machine has no pip")
PYPI = "application/vnd.pypi.simple.v1+json"
NAME = "native-1-py3-none-any.whl"
BODY = bytes(range(256)) * 4000
HASH = hashlib.sha256(BODY).hexdigest()
REMEDY = "check the network and pip's settings (pip config list), then run it again"
PAGE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: " + PYPI.encode() + b"\r\n%b\r\n"
# Seconds; the worker's five attempts at a file take SLOW each. A pause is far shorter than pip's time-out for silence.
SLOW, PAUSE, BOUND = 0.5, 0.05, 40.0


@pytest.fixture(autouse=True)
def _bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones, and none of the user's settings. Retries are pip's default: they must not multiply the time."""
    monkeypatch.setattr(http, "SLOW_S", SLOW)
    monkeypatch.setattr(http, "PAGE", 1 << 20)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_RETRIES", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


def ask(index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FetchError | Answer, float]:
    """What the worker answers when pip's index is `index`, and after how many seconds."""
    monkeypatch.setenv("PIP_INDEX_URL", index)
    with PipWorker([NAME], 1) as worker:
        begin = time.monotonic()
        worker.submit(Task("native", "1", NAME, HASH, str(tmp_path / "part")))
        answer = worker.receive()
        took = time.monotonic() - begin
    return (answer[1] if isinstance(answer, tuple) else answer), took


def link(site: Site, url: str) -> str:
    """An index whose page says that the file is at the server of `url`."""
    file = {"filename": NAME, "url": url.removesuffix("/f") + f"/{NAME}", "hashes": {}}
    page = {"meta": {"api-version": "1.0"}, "name": "native", "files": [file]}
    site.serve("/simple/native/", json.dumps(page).encode(), kind=PYPI)
    return site.url + "/simple"


@pytest.mark.parametrize(
    ("piece", "head"),
    [(b"x", HEAD), (b"x", b"HTTP/1.1 200 OK\r\nX: "), (b"HTTP/1.1 100 Continue\r\n\r\n", b"")],
    ids=["body", "head", "interim answers"],
)
def test_a_file_that_drips_is_given_up(
    piece: bytes, head: bytes, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes long before pip's time-out for silence; the average is what counts."""
    with endless(piece, PAUSE, head) as url:
        error, took = ask(link(site, url), tmp_path, monkeypatch)
    assert isinstance(error, FetchError)
    assert error.kind == "network"
    words = f"pip: cannot download {NAME} in 5 attempts: received only "
    assert error.line().startswith(words)
    assert error.line().endswith(f"; {REMEDY}")
    assert re.search(r"received only \d+ bytes in [0-5] s;", error.line())
    assert 5 * SLOW <= took < BOUND


def test_a_file_that_stalls_is_given_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence ends at pip's time-out, which is the user's to set; its retries do not start again after SLOW_S."""
    monkeypatch.setenv("PIP_TIMEOUT", "1")
    with endless(b"", PAUSE, HEAD + BODY[:1000]) as url:
        error, took = ask(link(site, url), tmp_path, monkeypatch)
    assert isinstance(error, FetchError)
    assert (error.kind, error.remedy) == ("network", REMEDY)
    assert f"cannot download {NAME} in 5 attempts" in error.message
    assert took < BOUND


@pytest.mark.parametrize(
    ("piece", "pause", "head", "says"),
    [
        (b" ", PAUSE, PAGE_HEAD % b"", r"received only \d+ bytes in"),
        (b" ", PAUSE, b"HTTP/1.1 200 OK\r\nX: ", r"received only \d+ bytes in"),
        (b" " * 65536, 0, PAGE_HEAD % b"", "the answer is larger than 1 MiB"),
        (b"", PAUSE, PAGE_HEAD % b"Content-Encoding: gzip\r\n", r"compressed \('gzip'\)"),
    ],
    ids=["drips", "drips a head", "endless", "packed"],
)
def test_an_indexs_page_is_bounded(
    piece: bytes, pause: float, head: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with endless(piece, pause, head) as url:
        error, took = ask(url.removesuffix("/f") + "/simple", tmp_path, monkeypatch)
    assert isinstance(error, FetchError)
    assert (error.kind, error.remedy) == ("network", REMEDY)
    assert error.message.startswith(f"pip: no index answered for {NAME}: ")
    assert re.search(says, error.message)
    assert took < BOUND


def test_a_page_has_an_end_in_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that comes faster than the least rate."""
    monkeypatch.setattr(http, "PAGE_S", 1.0)
    with endless(b" " * 500, 0.1, PAGE_HEAD % b"") as url:
        error, took = ask(url.removesuffix("/f") + "/simple", tmp_path, monkeypatch)
    assert isinstance(error, FetchError)
    assert "bytes in 1 s" in error.message
    assert took < BOUND


def test_a_file_without_end_is_given_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound for files whose size no lock knows, and nothing of it is kept."""
    monkeypatch.setattr(http, "FILE", 1 << 20)
    with endless(b"x" * 65536, 0) as url:
        error, _took = ask(link(site, url), tmp_path, monkeypatch)
    assert isinstance(error, FetchError)
    assert error.kind == "hash"
    assert f"has more than {1 << 20} bytes" in error.message
    assert not (tmp_path / "part").exists()


def test_a_sound_file_comes_within_the_same_bounds(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: bounds of the tests above do not keep a good server out."""
    site.serve(f"/{NAME}", BODY)
    answer, _took = ask(link(site, site.url), tmp_path, monkeypatch)
    assert isinstance(answer, Answer)
    assert (tmp_path / "part").read_bytes() == BODY


def test_pip_itself_is_ended_where_an_index_drips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make lock` has pip install Poetry; pip reads a page for as long as bytes come."""
    monkeypatch.setattr(process, "FETCHING_S", 4.0)
    with endless(b" ", PAUSE, PAGE_HEAD % b"") as url:
        monkeypatch.setenv("PIP_INDEX_URL", url.removesuffix("/f") + "/simple")
        with pytest.raises(FetchError) as caught:
            lock_poetry.install(Project(tmp_path), lambda _line: None)
    assert re.search(r"poetry==[\d.]+ timed out after 4 s and was ended$", caught.value.message)
    assert caught.value.remedy == process.FETCHING_REMEDY
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt")
def test_apt_is_ended_where_a_mirror_drips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lists of `make lock`, and a package of `make fetch`."""
    monkeypatch.setattr(process, "FETCHING_S", 4.0)
    with endless(b" ", PAUSE) as url:
        mirror = Entry(url.removesuffix("/f"), "bookworm", ("main",), {"trusted": "yes"})
        for module in (apt, apt_download):
            monkeypatch.setattr(module, "host_mirrors", lambda: {"main": [mirror]})
        private = apt.prepare(tmp_path / "apt", ["bookworm"], "amd64")
        wanted = apt_download.Wanted("bookworm", "pool/main/a/a.deb", HASH, tmp_path / "a.deb")
        for call in (private.update, lambda: apt_download.download(private, [wanted])):
            with pytest.raises(FetchError, match="timed out after 4 s and was ended") as caught:
                call()
            assert caught.value.remedy == process.FETCHING_REMEDY
