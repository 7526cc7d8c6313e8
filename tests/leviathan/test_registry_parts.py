"""The small parts of the registry client: waiting, ranges, addresses, sessions, the reader."""

import hashlib
import threading
import time
from pathlib import Path

import pytest
from push_support import Talk

from leviathan.errors import LayoutError, LeviathanError, RegistryError
from leviathan.registry.attempts import Attempts, Backoff, Stopped
from leviathan.registry.blob_reader import PIECE, BlobReader
from leviathan.registry.http_transport import Transport
from leviathan.registry.layout import Blob
from leviathan.registry.responses import Session, received, with_digest
from leviathan.registry.sessions import Sessions, state_home
from leviathan.retry import parse_retry_after
from leviathan.terminal.output import Console


def test_backoff_doubles_to_its_cap_with_jitter() -> None:
    backoff = Backoff(base_s=1, cap_s=10)
    assert [backoff.delay(n, dice=1) for n in range(6)] == [1, 2, 4, 8, 10, 10]
    assert [backoff.delay(n, dice=0) for n in range(3)] == [0.5, 1, 2]
    assert len({backoff.delay(3) for _ in range(20)}) > 1


def test_backoff_keeps_to_retry_after() -> None:
    backoff = Backoff(base_s=1, cap_s=10)
    assert backoff.delay(0, "7", dice=0) == 7
    assert 7 <= backoff.delay(5, "7", dice=1) <= 8
    assert backoff.delay(0, "999999", dice=0) == 600
    assert backoff.delay(0, "soon", dice=1) == 1


def test_retry_after_forms() -> None:
    assert parse_retry_after("120") == 120
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=1445412470.0) == 10
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=1445412500.0) == 0
    assert parse_retry_after(None) is None
    assert parse_retry_after("-1") is None


def attempts(limit: int, stop: threading.Event | None = None, refusals: int | None = None) -> tuple[Attempts, Talk]:
    talk = Talk()
    stop = stop if stop is not None else threading.Event()
    backoff = Backoff(base_s=0.001, cap_s=0.002)
    console = Console(talk)
    counted = Attempts(
        "do it", where="http://r/v2/n", limit=limit, refusals=refusals, stop=stop, console=console, backoff=backoff
    )
    return counted, talk


def test_attempts_count_failures_in_a_row() -> None:
    counted, talk = attempts(2)
    counted.failed("one")
    counted.failed("two")
    counted.progress()
    counted.failed("three")
    counted.failed("four")
    with pytest.raises(
        RegistryError, match=r"cannot do it \(.*\): five; 3 attempts in a row failed; fix: .*curl -i http://r/v2/"
    ):
        counted.failed("five")
    assert talk.getvalue().splitlines()[0].startswith("do it: one; attempt 2 of 3 in 0.0")


def test_a_refused_address_has_fewer_attempts_where_that_is_wanted() -> None:
    counted, talk = attempts(5, refusals=1)
    counted.failed("refused", refused=True)
    with pytest.raises(RegistryError, match="refused; 2 attempts in a row failed"):
        counted.failed("refused", refused=True)
    assert talk.getvalue().startswith("do it: refused; attempt 2 of 2 in 0.0")
    counted.failed("cut")  # a timeout, or an answer such as 503: the whole limit
    patient, _ = attempts(2)
    patient.failed("refused", refused=True)
    patient.failed("refused", refused=True)


def test_attempts_stop() -> None:
    stop = threading.Event()
    counted, _ = attempts(5, stop)
    counted.check()
    stop.set()
    with pytest.raises(Stopped):
        counted.check()
    with pytest.raises(Stopped):
        counted.failed("x")


@pytest.mark.parametrize(
    ("header", "count"),
    [("0-1023", 1024), ("bytes=0-1023", 1024), ("0-0", 0), ("0-1", 2), ("", None), ("5-9", None), ("0--1", None)],
)
def test_received(header: str, count: int | None) -> None:
    assert received({"range": header}) == count


def test_digest_in_the_address() -> None:
    assert with_digest("http://r/u/1", "sha256:a") == "http://r/u/1?digest=sha256:a"
    assert with_digest("http://r/u/1?_state=x%3D", "sha256:a") == "http://r/u/1?_state=x%3D&digest=sha256:a"


def test_location_keeps_to_https() -> None:
    secure = Transport("reg:5000", plain_http=False)
    assert secure.resolve("/v2/x?a=b") == "https://reg:5000/v2/x?a=b"
    assert secure.resolve("http://reg/v2/x?a=b") == "https://reg:5000/v2/x?a=b"
    assert secure.resolve("https://other/up") == "https://other/up"
    for location in ("http://other/up?_state=secret", "//other/up", "ftp://other/up"):
        assert secure.resolves(location) == (location == "//other/up")
    with pytest.raises(
        RegistryError, match=r"without TLS \(http://other/up\): the image would be sent unencrypted; fix: "
    ):
        secure.resolve("http://other/up?_state=secret")
    assert Transport("reg:5000", plain_http=True).resolve("http://other/up") == "http://other/up"
    assert Transport("reg:5000", plain_http=True).resolve("/v2/x") == "http://reg:5000/v2/x"


def test_state_home() -> None:
    assert state_home({"HOME": "/h"}) == Path("/h/.local/state")
    assert state_home({"HOME": "/h", "XDG_STATE_HOME": "/s"}) == Path("/s")
    assert state_home({"HOME": "/h", "XDG_STATE_HOME": "relative"}) == Path("/h/.local/state")


def blob(path: Path, data: bytes) -> Blob:
    path.write_bytes(data)
    return Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), path)


def test_sessions_are_kept_per_registry_repository_and_blob(tmp_path: Path) -> None:
    one, two = blob(tmp_path / "1", b"1"), blob(tmp_path / "2", b"22")
    sessions = Sessions(tmp_path, "reg:5000", "a/b")
    session = Session("http://reg:5000/u?_state=s", 7, 3)
    sessions.save(one, session)
    assert Sessions(tmp_path, "reg:5000", "a/b").load(one) == session
    assert sessions.load(two) is None
    assert Sessions(tmp_path, "reg:5000", "a").load(one) is None
    assert Sessions(tmp_path, "reg:5001", "a/b").load(one) is None
    sessions.drop(one)
    sessions.drop(one)
    assert sessions.load(one) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"size": 1}', '{"size": 2, "location": "x", "offset": 0, "min_chunk": 0}']
)
def test_broken_session_is_none(text: str, tmp_path: Path) -> None:
    one = blob(tmp_path / "1", b"1")
    sessions = Sessions(tmp_path, "r", "a")
    sessions.save(one, Session("x", 0))
    [file] = sessions.folder.glob("*.json")
    assert file.stat().st_mode & 0o077 == 0, "upload addresses are nobody else's business"
    file.write_text(text)
    assert sessions.load(one) is None


def test_state_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "leviathan").write_text("a file")
    with pytest.raises(
        LeviathanError, match=r"cannot create the folder for the state of uploads .*fix: set XDG_STATE_HOME"
    ):
        Sessions(tmp_path, "r", "a")


def test_waiting_for_the_lock_has_a_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leviathan.terminal.progress.HEARTBEAT_S", 0.05)
    sessions, talk = Sessions(tmp_path, "r", "a"), Talk()

    def second() -> None:
        with sessions.locked(attempts(0)[0], Console(talk), poll_s=0.01):
            pass

    with sessions.locked(attempts(0)[0], Console(Talk())):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.5)
    thread.join(10)
    first, *beats = talk.getvalue().splitlines()
    assert first == f"waiting for another push to this repository (lock: {sessions.folder / 'lock'})"
    assert len(beats) >= 2
    assert set(beats) <= {f"waiting for another push to this repository, {n} s" for n in range(3)}


def test_waiting_for_the_lock_ends_when_asked(tmp_path: Path) -> None:
    sessions, stop = Sessions(tmp_path, "r", "a"), threading.Event()
    with sessions.locked(attempts(0)[0], Console(Talk())):
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(Stopped), sessions.locked(attempts(0, stop)[0], Console(Talk()), poll_s=0.01):
            pytest.fail("two have the lock")


def test_lock_lets_one_in(tmp_path: Path) -> None:
    sessions, order, entered = Sessions(tmp_path, "r", "a"), [], threading.Event()
    counted, talk = attempts(0)

    def second() -> None:
        with sessions.locked(counted, Console(talk), poll_s=0.01):
            order.append("second")

    with sessions.locked(attempts(0)[0], Console(Talk())):
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert talk.getvalue().count("waiting for another push") == 1


def test_reader_hashes_each_byte_once(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096  # 1 MiB, several pieces
    moved: list[int] = []
    with BlobReader(blob(tmp_path / "b", data)) as reader:
        reader.catch_up(100)
        assert b"".join(reader.pieces(100, PIECE, moved.append)) == data[100 : 100 + PIECE]
        assert b"".join(reader.pieces(50, PIECE)) == data[50 : 50 + PIECE]  # sent again
        assert b"".join(reader.pieces(100 + PIECE, len(data) - 100 - PIECE)) == data[100 + PIECE :]
        reader.check()
    assert sum(moved) == PIECE


def test_reader_finds_damage(tmp_path: Path) -> None:
    good = blob(tmp_path / "b", b"x" * 1000)
    with BlobReader(good) as reader:
        reader.check()
    (tmp_path / "b").write_bytes(b"x" * 999 + b"y")
    with BlobReader(good) as reader, pytest.raises(LayoutError, match="a blob is damaged"):
        reader.check()
    (tmp_path / "b").write_bytes(b"x" * 10)
    with BlobReader(good) as reader, pytest.raises(LayoutError, match=r"a blob is truncated .*ends at byte 10"):
        reader.check()
    (tmp_path / "b").unlink()
    with pytest.raises(LayoutError, match="cannot read a blob"):
        BlobReader(good)
