"""The downloader against a hub on the loopback that cuts, stalls, lies about sizes, and changes its files."""

import base64
import hashlib
import json
import shutil
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_support import CHUNK, leftovers, right, run_program, served, transfer, url_flags
from tiny_model import tiny_bytes

from hub_double import REPOSITORY, HubDouble
from leviathan_engine.download import __main__ as program
from leviathan_engine.download.errors import DownloadError
from leviathan_engine.download.retry import Retry
from leviathan_engine.download.source import checked, hub_files
from leviathan_engine.download.transfer import Settings, Transfer
from leviathan_engine.download.web import Web, host_of
from leviathan_engine.errors import EngineError
from leviathan_engine.gguf import dump


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    yield from served()


def test_all_files_of_the_folder_arrive_verified_under_their_names(hub: HubDouble, tmp_path: Path) -> None:
    said: list[str] = []
    digests = transfer(hub, tmp_path, said).run()
    assert right(hub, tmp_path)
    assert digests["m-00002-of-00002.gguf"] == hashlib.sha256(hub.files["Q4/m-00002-of-00002.gguf"]).hexdigest()
    assert sorted(digests) == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    assert not leftovers(tmp_path)
    assert "2 of 2 files verified" in said[-1]
    assert "(100.0 %)" in said[-1]


def test_a_second_run_asks_for_no_byte_of_a_file(hub: HubDouble, tmp_path: Path) -> None:
    transfer(hub, tmp_path).run()
    before = hub.sent
    transfer(hub, tmp_path).run()
    assert hub.sent == before


@pytest.mark.parametrize("listed", [999, 2_000_000])
def test_a_list_that_lies_about_a_size_ends_with_both_sizes(hub: HubDouble, tmp_path: Path, listed: int) -> None:
    hub.faults.listed["Q4/m-00001-of-00002.gguf"] = listed
    with pytest.raises(EngineError, match=r"expected \d+ bytes, got 1000003|shorter than the server's file list"):
        run_program(hub, tmp_path)
    assert not (tmp_path / "m-00001-of-00002.gguf").exists()


def test_content_that_is_not_the_digests_is_never_named(hub: HubDouble, tmp_path: Path) -> None:
    hub.faults.digests["Q4/m-00002-of-00002.gguf"] = "0" * 64
    with pytest.raises(
        EngineError, match=rf"3 times in a row: m-00002-of-00002.gguf: expected SHA-256 {'0' * 64}, got "
    ):
        run_program(hub, tmp_path)
    assert not (tmp_path / "m-00002-of-00002.gguf").exists()
    assert not (tmp_path / "m-00002-of-00002.gguf.part").exists()


def test_the_log_ends_with_files_header_and_marker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_bytes(tmp_path / "src")
    double = HubDouble({"a/tiny.gguf": model})
    try:
        program.run(url_flags([f"{double.address}/files/a/tiny.gguf"], tmp_path / "to"), {}, threading.Event())
    finally:
        double.close()
    lines = capsys.readouterr().out.splitlines()
    digest = hashlib.sha256(model).hexdigest()
    assert lines[-1] == "DOWNLOAD COMPLETE"
    assert f"file: {digest} {len(model)} tiny.gguf" in lines
    packed = "".join(line.removeprefix("header: ") for line in lines if line.startswith("header: "))
    header = zlib.decompress(base64.b64decode(packed)).decode()
    assert dump.load(header).tensors
    document = json.loads((tmp_path / "to" / "leviathan-model.json").read_text())
    assert document["format"] == "leviathan-model/1"
    assert document["files"] == [{"name": "tiny.gguf", "size": len(model), "sha256": digest}]
    assert document["header"] == json.loads(header)


def test_what_is_no_model_is_not_called_complete(
    hub: HubDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EngineError, match=r"gguf"):
        run_program(hub, tmp_path)
    assert "DOWNLOAD COMPLETE" not in capsys.readouterr().out


def test_too_little_space_is_said_before_the_first_byte(
    hub: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DownloadError, match=r"has 0\.0 GB free, and 0\.1 GB are still needed.*storage\.size_gb"):
        transfer(hub, tmp_path).run()
    assert hub.sent == 0


def test_another_file_of_the_name_is_not_overwritten(hub: HubDouble, tmp_path: Path) -> None:
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(b"mine")
    with pytest.raises(DownloadError, match=r"exists already with other content.*move the file away"):
        transfer(hub, tmp_path).run()
    assert (tmp_path / "m-00002-of-00002.gguf").read_bytes() == b"mine"


def test_two_downloads_into_one_folder_do_not_meet(hub: HubDouble, tmp_path: Path) -> None:
    with program._exclusive(tmp_path), pytest.raises(DownloadError, match=r"another download is writing"):
        run_program(hub, tmp_path)


def test_the_token_goes_to_the_hub_and_to_no_other_host(hub: HubDouble, tmp_path: Path) -> None:
    other = HubDouble(dict(hub.files))
    hub.faults.token, hub.faults.moved_to = "secret", other.address.replace("127.0.0.1", "127.1")
    web = Web("secret", host_of(hub.address), 5.0)
    retry = Retry(3, 0.01, say=lambda _text: None)
    try:
        files = hub_files(web, retry, hub.address, REPOSITORY, "main", ["Q4/*"])
        Transfer(files, tmp_path, web, retry, Settings(2, CHUNK), lambda _text: None).run()
    finally:
        other.close()
    assert right(hub, tmp_path)
    assert all(headers["authorization"] == "Bearer secret" for _, headers in hub.asked)
    assert other.asked
    assert not any("authorization" in headers for _, headers in other.asked)


def test_a_gated_repository_says_what_to_do(hub: HubDouble, tmp_path: Path) -> None:
    hub.faults.token = "secret"
    with pytest.raises(DownloadError, match=r"401.*gated.*accept the model's terms.*Secret"):
        transfer(hub, tmp_path)


def test_a_pattern_without_a_match_names_the_folders(hub: HubDouble) -> None:
    with pytest.raises(DownloadError, match=r"no file that matches Q5/\*; folders with GGUF files: Q4, Q8"):
        hub_files(Web(), Retry(2, 0.01), hub.address, REPOSITORY, "main", ["Q5/*"])


@pytest.mark.parametrize(
    "name", ["../x.gguf", "a/../../x", "", "a//b", "/etc/passwd", "a\nb", ".leviathan-download.json"]
)
def test_a_name_outside_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(DownloadError, match=r"points outside the model's folder"):
        checked(name)
