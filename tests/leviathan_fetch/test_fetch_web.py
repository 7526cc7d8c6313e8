"""The HTTP client: whole files, resumed files, and each way to fail."""

import base64
import time
from pathlib import Path

import pytest
from http_site import Site, endless

from leviathan_fetch.clients import http as web
from leviathan_fetch.errors import FetchError

BODY = bytes(range(256)) * 4096


class Pauses:
    """A sleep that only remembers how long it would have taken."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "part"


def test_a_whole_file_comes_without_a_range(site: Site, target: Path) -> None:
    web.download(site.serve("/f", BODY), target)
    assert target.read_bytes() == BODY
    assert site.ranges("/f") == [None]


def test_a_partial_file_is_gone_on_with(site: Site, target: Path) -> None:
    target.write_bytes(BODY[:1000])
    web.download(site.serve("/f", BODY), target)
    assert target.read_bytes() == BODY
    assert site.ranges("/f") == ["bytes=1000-"]


def test_a_server_without_ranges_sends_it_all_again(site: Site, target: Path) -> None:
    target.write_bytes(b"junk" * 250)
    web.download(site.serve("/f", BODY, ranges=False), target)
    assert target.read_bytes() == BODY


def test_a_partial_file_that_is_too_long_starts_anew(site: Site, target: Path) -> None:
    target.write_bytes(BODY + b"more")
    web.download(site.serve("/f", BODY), target, Pauses())
    assert target.read_bytes() == BODY
    assert site.ranges("/f") == [f"bytes={len(BODY) + 4}-", None]


def test_a_server_that_sends_another_range_is_asked_for_all(site: Site, target: Path) -> None:
    target.write_bytes(BODY[:1000])
    web.download(site.serve("/f", BODY, skew=[24]), target, Pauses())
    assert target.read_bytes() == BODY
    assert site.ranges("/f") == ["bytes=1000-", None]


def test_a_truncated_answer_is_gone_on_with(site: Site, target: Path) -> None:
    pauses = Pauses()
    web.download(site.serve("/f", BODY, cut=[5000, 7000]), target, pauses)
    assert target.read_bytes() == BODY
    assert site.ranges("/f") == [None, "bytes=5000-", "bytes=12000-"]
    assert pauses.taken == [0.5, 1.0]


def test_what_stays_truncated_is_a_network_error_and_keeps_its_part(site: Site, target: Path) -> None:
    pauses = Pauses()
    url = site.serve("/f", BODY, cut=[10, 10, 10, 10, 10])
    with pytest.raises(FetchError, match=f"in 5 attempts: cut off at 50 of {len(BODY)} bytes") as got:
        web.download(url, target, pauses)
    assert got.value.kind == "network"
    assert target.read_bytes() == BODY[:50]
    assert pauses.taken == [0.5, 1.0, 2.0, 4.0]


def test_a_failing_server_is_asked_again(site: Site, target: Path) -> None:
    web.download(site.serve("/f", BODY, fail=[500, 503]), target, Pauses())
    assert target.read_bytes() == BODY


def test_a_server_that_keeps_failing_is_a_network_error(site: Site, target: Path) -> None:
    with pytest.raises(FetchError, match="HTTP 502") as got:
        web.download(site.serve("/f", BODY, fail=[502] * 5), target, Pauses())
    assert got.value.kind == "network"


@pytest.mark.parametrize(("status", "kind", "asked"), [(404, "gone", 1), (410, "gone", 1), (403, "network", 1)])
def test_what_the_server_refuses_is_not_asked_again(
    site: Site, target: Path, status: int, kind: str, asked: int
) -> None:
    with pytest.raises(FetchError, match=f"HTTP {status}") as got:
        web.download(site.serve("/f", BODY, fail=[status] * 5), target, Pauses())
    assert got.value.kind == kind
    assert len(site.ranges("/f")) == asked
    assert not target.exists()


def test_nobody_listens(site: Site, target: Path) -> None:
    with pytest.raises(FetchError, match="cannot download") as got:
        web.download("http://127.0.0.1:9/f", target, Pauses())
    assert got.value.kind == "network"


def test_a_full_disk(site: Site) -> None:
    with pytest.raises(FetchError, match="no space left") as got:
        web.download(site.serve("/f", BODY), Path("/dev/full"), Pauses())
    assert got.value.kind == "disk"
    assert "free some disk space" in got.value.line()


def test_a_folder_on_this_machine_can_be_a_mirror(tmp_path: Path, target: Path) -> None:
    (tmp_path / "f").write_bytes(BODY)
    web.download((tmp_path / "f").as_uri(), target)
    assert target.read_bytes() == BODY
    with pytest.raises(FetchError, match="is not there") as got:
        web.download((tmp_path / "g").as_uri(), target, Pauses())
    assert got.value.kind == "gone"


def test_a_password_becomes_a_header_and_stays_out_of_messages(site: Site, target: Path) -> None:
    url = site.serve("/f", BODY).replace("//", "//me:s%40fe@")
    web.download(url, target)
    assert site.requests[0][2] == "Basic " + base64.b64encode(b"me:s@fe").decode()
    with pytest.raises(FetchError, match=r"/gone is not there") as got:
        web.download(url.replace("/f", "/gone"), target, Pauses())
    assert "fe@" not in got.value.line()


@pytest.mark.parametrize(("size", "words"), [(100_000, "the lock has 100000"), (None, "which no package has")])
def test_a_file_without_end_is_given_up(
    target: Path, size: int | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the lock's size, or where no lock has one at a bound; it is not asked again, and nothing of it is kept."""
    monkeypatch.setattr(web, "FILE", 1 << 20)
    pauses = Pauses()
    with endless(b"x" * 65536, 0) as url, pytest.raises(FetchError, match=f"sends more than .*{words}") as got:
        web.download(url, target, pauses, size=size)
    assert (got.value.kind, pauses.taken) == ("hash", [])
    assert not target.exists()


def test_a_file_that_drips_is_given_up(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes long before the time-out for silence; the average is what counts."""
    monkeypatch.setattr(web, "SLOW_S", 0.5)
    pauses = Pauses()
    begin = time.monotonic()
    with endless(b"x", 0.02) as url, pytest.raises(FetchError, match=r"received only \d+ bytes in") as got:
        web.download(url, target, pauses)
    assert got.value.kind == "network"
    assert len(pauses.taken) == web.ATTEMPTS - 1
    assert time.monotonic() - begin < 30


def test_a_file_of_just_the_locks_size_comes(site: Site, target: Path) -> None:
    """Also when it is resumed."""
    target.write_bytes(BODY[:1000])
    web.download(site.serve("/f", BODY), target, size=len(BODY))
    assert target.read_bytes() == BODY
