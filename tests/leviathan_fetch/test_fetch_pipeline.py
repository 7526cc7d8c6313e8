"""From a server into a store (here: a folder that copies what it is given), with everything that goes wrong between."""

import hashlib
import io
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol, Unpack

import pytest
from debs import deb
from http_site import How, Site

from leviathan_fetch.clients.base import Client, Job, Present, WebClient, pool
from leviathan_fetch.errors import FetchError
from leviathan_fetch.pipeline import Outcome, Pipeline
from leviathan_fetch.progress import Progress
from leviathan_fetch.records import Record


class Folder:
    """A store: `add` copies files below it and gives their paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[tuple[list[str], bool]] = []
        path.mkdir()

    def add(self, files: Sequence[Path], recursive: bool) -> list[str]:
        self.calls.append(([file.name for file in files], recursive))
        for file in files:
            (shutil.copytree if recursive else shutil.copyfile)(file, self.path / f"x-{file.name}")
        return [str(self.path / f"x-{file.name}") for file in files]


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "store")


class Fetch(Protocol):
    """Fetches `records`, of which those in `ready` have come before; the outcome and what was said."""

    def __call__(self, records: Sequence[Record], ready: Collection[Record] = ()) -> tuple[Outcome, str]: ...


@pytest.fixture
def fetch(site: Site, store: Folder, tmp_path: Path) -> Fetch:
    """Fetches records of the server's pool."""

    def run(records: Sequence[Record], ready: Collection[Record] = ()) -> tuple[Outcome, str]:
        jobs = [Job(record, tmp_path / "downloads" / record.sha256) for record in records]
        for job in jobs:
            job.folder.mkdir(parents=True, exist_ok=True)
        present = [job for job in jobs if job.record in ready]
        others = [job for job in jobs if job.record not in ready]
        talk = io.StringIO()
        pipeline = Pipeline(store.add, Progress(talk, len(jobs)))
        work: list[tuple[Client, list[Job]]] = [(Present(), present), (WebClient(pool(site.url, None), 2), others)]
        return pipeline.run([(client, mine) for client, mine in work if mine]), talk.getvalue()

    return run


class MakeRecord(Protocol):
    """Serves `body` as the package `name` and gives its record, by default with the hash that `body` has."""

    def __call__(
        self,
        name: str,
        body: bytes,
        *,
        sha256: str | None = None,
        form: str = "deb",
        **how: Unpack[How],
    ) -> Record: ...


@pytest.fixture
def artifact(site: Site, store: Folder) -> MakeRecord:
    """Packages in the server's pool."""

    def make(
        name: str,
        body: bytes,
        *,
        sha256: str | None = None,
        form: str = "deb",
        **how: Unpack[How],
    ) -> Record:
        site.serve(f"/pool/{name}", body, **how)
        digest = sha256 or hashlib.sha256(body).hexdigest()
        path = str(store.path / f"x-{name}")
        member = "bin/busybox" if form == "seed" else ""
        return Record(form, name, digest, path, name, "1", f"pool/{name}", None, "amd64", "bookworm", member)

    return make


def test_files_come_in_and_leave_no_download_behind(
    artifact: MakeRecord, fetch: Fetch, store: Folder, tmp_path: Path
) -> None:
    records = [artifact(f"p{number}.deb", bytes([number]) * 5000) for number in range(20)]
    outcome, talk = fetch(records)
    assert (outcome.added, outcome.received, outcome.errors, talk) == (20, 100_000, [], "")
    assert [(store.path / f"x-p{number}.deb").read_bytes()[:1] for number in range(20)] == [
        bytes([number]) for number in range(20)
    ]
    assert list((tmp_path / "downloads").iterdir()) == []


def test_a_wrong_hash_is_tried_a_second_time_then_says_got_and_wanted(
    artifact: MakeRecord, fetch: Fetch, store: Folder, site: Site
) -> None:
    wrong, right = artifact("wrong.deb", b"bad", sha256="0" * 64), artifact("right.deb", b"good")
    outcome, talk = fetch([wrong, right])
    assert outcome.added == 1
    got = hashlib.sha256(b"bad").hexdigest()
    assert [error.message for error in outcome.errors] == [
        f"wrong.deb: expected the hash {'0' * 64}, got {got} (3 bytes)"
    ]
    assert outcome.errors[0].kind == "hash"
    assert talk == f"leviathan: {outcome.errors[0].line()}\n"
    assert len(site.ranges("/pool/wrong.deb")) == 2
    assert [path.name for path in store.path.iterdir()] == ["x-right.deb"]


def test_a_part_that_was_damaged_is_fetched_anew(
    artifact: MakeRecord, fetch: Fetch, store: Folder, site: Site, tmp_path: Path
) -> None:
    record = artifact("p.deb", b"0123456789")
    part = tmp_path / "downloads" / record.sha256 / "part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"xxxx")
    outcome, _ = fetch([record])
    assert (outcome.added, outcome.received, outcome.errors) == (1, 10, [])
    assert (store.path / "x-p.deb").read_bytes() == b"0123456789"
    assert site.ranges("/pool/p.deb") == ["bytes=4-", None]


def test_what_is_gone_does_not_keep_the_others_out(artifact: MakeRecord, fetch: Fetch, site: Site) -> None:
    gone, there = artifact("gone.deb", b"1"), artifact("there.deb", b"2")
    del site.resources["/pool/gone.deb"]
    outcome, talk = fetch([gone, there])
    assert outcome.added == 1
    assert [error.kind for error in outcome.errors] == ["gone"]
    assert "gone.deb is not there (HTTP 404); make lock" in talk


def test_a_server_that_refuses_ends_the_fetch(artifact: MakeRecord, fetch: Fetch, store: Folder) -> None:
    with pytest.raises(FetchError, match="is refused") as got:
        fetch([artifact("p.deb", b"1", fail=[403] * 9)])
    assert got.value.kind == "network"
    assert list(store.path.iterdir()) == []


def test_what_an_earlier_fetch_left_is_not_downloaded(
    artifact: MakeRecord, fetch: Fetch, store: Folder, site: Site, tmp_path: Path
) -> None:
    record = artifact("p.deb", b"whole")
    part = tmp_path / "downloads" / record.sha256 / "part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"whole")
    outcome, _ = fetch([record], ready=[record])
    assert (outcome.added, outcome.received, site.requests) == (1, 0, [])


def test_a_store_path_that_is_not_the_flakes_is_an_error(artifact: MakeRecord, fetch: Fetch, store: Folder) -> None:
    record = artifact("p.deb", b"1")
    elsewhere = Record(**{**vars(record), "store": "/nix/store/y-p.deb"})
    outcome, _ = fetch([elsewhere])
    assert [error.message for error in outcome.errors] == [
        f"p.deb: expected the store path /nix/store/y-p.deb, got {record.store}"
    ]


def test_a_store_that_fails_ends_the_fetch(
    artifact: MakeRecord, fetch: Fetch, store: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(files: Sequence[Path], recursive: bool) -> list[str]:
        raise FetchError("nix-store cannot add p.deb: No space left on device", "free some", "disk")

    monkeypatch.setattr(store, "add", full)
    with pytest.raises(FetchError, match="No space left"):
        fetch([artifact("p.deb", b"1")])


def test_the_seed_is_unpacked_and_added_as_a_folder(
    artifact: MakeRecord, fetch: Fetch, store: Folder, tmp_path: Path
) -> None:
    package = deb({"./bin/busybox": b"box"})
    outcome, _ = fetch([artifact("seed", package, form="seed"), artifact("p.deb", b"1")])
    assert (outcome.added, outcome.errors) == (2, [])
    assert (["seed"], True) in store.calls
    assert (store.path / "x-seed" / "bin" / "busybox").read_bytes() == b"box"


def test_security_packages_have_a_mirror_of_their_own() -> None:
    def addresses(suite: str, security: str | None) -> Sequence[str]:
        record = Record("deb", "n", "", "", "p", "1", "pool/p.deb", None, "amd64", suite, "")
        return pool("http://m/debian/", security)(record)

    assert addresses("bookworm", None) == ["http://m/debian/pool/p.deb"]
    assert addresses("bookworm-security", None) == [
        "http://m/debian-security/pool/p.deb",
        "http://m/debian/pool/p.deb",
    ]
    assert addresses("bookworm-security", "http://s") == ["http://s/pool/p.deb"]
