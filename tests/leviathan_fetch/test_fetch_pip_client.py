"""The worker that downloads with the host's pip, against an index on loopback."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Protocol, Unpack

import pytest
from http_site import How, Site

from leviathan_fetch.clients import pip_client
from leviathan_fetch.clients.base import Job, PipClient
from leviathan_fetch.clients.pip_client import Answer, PipWorker, Task
from leviathan_fetch.errors import FetchError
from leviathan_fetch.records import Record

PYPI = "application/vnd.pypi.simple.v1+json"
BODY = bytes(range(256)) * 4000
HASH = hashlib.sha256(BODY).hexdigest()
MANY = "native-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
Reply = Answer | tuple[str, FetchError]
needs_pip = pytest.mark.skipif(pip_client.find_python() is None, reason="this machine has no pip")


def test_platforms_are_those_in_the_names_of_wheels() -> None:
    names = [MANY, "pure-1-py2.py3-none-any.whl", "b-1-2build-cp39-abi3-manylinux_2_28_x86_64.whl", "src-1.tar.gz"]
    assert pip_client.platforms(names) == ["manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"]


def test_a_host_without_pip_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_client, "find_python", lambda: None)
    with pytest.raises(FetchError, match="this host has no pip") as got:
        PipWorker([], 1)
    assert "apt-get install python3-pip" in got.value.remedy


def test_a_pip_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/bash\necho 'ImportError: no module' >&2\n")
    program.chmod(0o755)
    monkeypatch.setattr(pip_client, "find_python", lambda: str(program))
    with PipWorker([], 1) as worker, pytest.raises(FetchError, match="pip ended early: ImportError: no module"):
        worker.receive()


class ServeProject(Protocol):
    """Serves `names` as the files of `project`, each with `body`, and their page with or without `hashes`."""

    def __call__(
        self, project: str, *names: str, body: bytes = BODY, hashes: bool = True, **how: Unpack[How]
    ) -> None: ...


@pytest.fixture
def index(site: Site, monkeypatch: pytest.MonkeyPatch) -> ServeProject:
    """Point pip at the server, away from the user's settings; gives what serves a project's files."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", site.url + "/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def serve(project: str, *names: str, body: bytes = BODY, hashes: bool = True, **how: Unpack[How]) -> None:
        listing = [
            {
                "filename": name,
                "url": site.serve(f"/files/{name}", body, **how),
                "hashes": {"sha256": hashlib.sha256(body).hexdigest()} if hashes else {},
            }
            for name in names
        ]
        page = {"meta": {"api-version": "1.0"}, "name": project, "files": listing}
        site.serve(f"/simple/{project}/", json.dumps(page).encode(), kind=PYPI)

    return serve


def ask(tmp_path: Path, *tasks: tuple[str, str, str, str]) -> list[Reply]:
    """The answers to tasks (project, version, filename, hash), in the order of the tasks."""
    answers: dict[str, Reply] = {}
    with PipWorker([MANY], 2) as worker:
        for number, task in enumerate(tasks):
            worker.submit(Task(*task, str(tmp_path / str(number))))
        for _ in tasks:
            answer = worker.receive()
            answers[answer[0] if isinstance(answer, tuple) else answer.target] = answer
    return [answers[str(tmp_path / str(number))] for number in range(len(tasks))]


@needs_pip
def test_the_very_file_comes_whatever_this_machines_python_is(index: ServeProject, tmp_path: Path, site: Site) -> None:
    index("native", "native-1-cp39-cp39-win_amd64.whl", "native-1-cp311-cp311-macosx_11_0_arm64.whl", MANY)
    index("stable", "stable-1-cp39-abi3-manylinux_2_17_x86_64.whl")
    index("pure", "pure-1-py2.py3-none-any.whl", "pure-1.tar.gz")
    tasks = [
        ("native", "1", MANY, HASH),
        ("stable", "1", "stable-1-cp39-abi3-manylinux_2_17_x86_64.whl", HASH),
        ("pure", "1", "pure-1-py2.py3-none-any.whl", HASH),
        ("pure", "1", "pure-1.tar.gz", HASH),
    ]
    answers = ask(tmp_path, *tasks)
    assert answers == [
        Answer(str(tmp_path / str(number)), task[2], HASH, len(BODY)) for number, task in enumerate(tasks)
    ]
    assert (tmp_path / "0").read_bytes() == BODY
    assert site.ranges("/files/native-1-cp39-cp39-win_amd64.whl") == []


@needs_pip
def test_a_source_archive_is_found_by_version_and_nothing_in_it_is_run(index: ServeProject, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        text = f"open({str(tmp_path / 'was-run')!r}, 'w')".encode()
        entry = tarfile.TarInfo("some_engine-0.2.1.post1/setup.py")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    body = stream.getvalue()
    index("some-engine", "some_engine-0.2.1.tar.gz", "some_engine-0.2.1.post1.tar.gz", body=body)
    (answer,) = ask(tmp_path, ("some-engine", "0.2.1.post1", "", ""))
    assert isinstance(answer, Answer)
    assert (answer.filename, answer.size) == ("some_engine-0.2.1.post1.tar.gz", len(body))
    assert (tmp_path / "0").read_bytes() == body
    assert not (tmp_path / "was-run").exists()


@needs_pip
def test_a_partial_file_is_gone_on_with_and_a_cut_one_too(index: ServeProject, tmp_path: Path, site: Site) -> None:
    index("native", MANY, cut=[5000])
    (tmp_path / "0").write_bytes(BODY[:1000])
    (answer,) = ask(tmp_path, ("native", "1", MANY, HASH))
    assert isinstance(answer, Answer)
    assert (tmp_path / "0").read_bytes() == BODY
    assert site.ranges(f"/files/{MANY}") == ["bytes=1000-", "bytes=6000-"]


@needs_pip
def test_an_index_without_ranges_sends_it_all_again(index: ServeProject, tmp_path: Path) -> None:
    index("native", MANY, ranges=False)
    (tmp_path / "0").write_bytes(b"junk" * 250)
    (answer,) = ask(tmp_path, ("native", "1", MANY, HASH))
    assert isinstance(answer, Answer)
    assert (tmp_path / "0").read_bytes() == BODY


@needs_pip
def test_each_failure_is_an_answer_with_its_kind(index: ServeProject, tmp_path: Path, site: Site) -> None:
    index("native", MANY)
    index("cut", "cut-1-py3-none-any.whl", cut=[1] * 5)
    index("lost", "lost-1-py3-none-any.whl")
    del site.resources["/files/lost-1-py3-none-any.whl"]
    index("unstated", "unstated-1-py3-none-any.whl", hashes=False)
    answers = ask(
        tmp_path,
        ("native", "1", MANY, "0" * 64),
        ("native", "2", MANY.replace("-1-", "-2-"), HASH),
        ("none", "1", "none-1-py3-none-any.whl", HASH),
        ("cut", "1", "cut-1-py3-none-any.whl", HASH),
        ("lost", "1", "lost-1-py3-none-any.whl", HASH),
        ("unstated", "1", "unstated-1-py3-none-any.whl", HASH),
    )
    errors = [answer[1] for answer in answers if isinstance(answer, tuple)]
    assert [error.kind for error in errors] == ["hash", "gone", "gone", "network", "gone"]
    assert f"{MANY}: expected the hash {'0' * 64}, the index has {HASH}" in errors[0].message
    assert "in 5 attempts: cut off at 5 bytes" in errors[3].message
    assert isinstance(answers[5], Answer)
    assert answers[5].sha256 == ""


@needs_pip
def test_an_index_that_does_not_answer_is_a_network_error(
    index: ServeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    (answer,) = ask(tmp_path, ("native", "1", MANY, HASH))
    assert isinstance(answer, tuple)
    error = answer[1]
    assert error.kind == "network"
    assert error.message == f"pip: no index answered for {MANY}: [Errno 111] Connection refused"


@needs_pip
def test_the_client_reports_every_job(index: ServeProject, tmp_path: Path) -> None:
    index("native", MANY)
    names = [MANY, MANY.replace("-1-", "-2-")]
    records = [Record("pypi", name, HASH, "", "native", "1", name, None, "", "", "") for name in names]
    jobs = [Job(record, tmp_path / record.name) for record in records]
    for job in jobs:
        job.folder.mkdir()
    reports: dict[str, FetchError | None] = {}
    PipClient(2).fetch(jobs, lambda job, error: reports.update({job.record.name: error}))
    assert reports[names[0]] is None
    problem = reports[names[1]]
    assert problem is not None
    assert problem.kind == "gone"
    assert jobs[0].part.read_bytes() == BODY
