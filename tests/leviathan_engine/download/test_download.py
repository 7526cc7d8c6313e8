"""The downloader against a hub on the loopback that cuts, stalls, lies about sizes, and changes its files."""

import argparse
import base64
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_model import tiny_bytes

from hub_double import REPOSITORY, HubDouble
from leviathan_engine.download import __main__ as program
from leviathan_engine.download import part as part_module
from leviathan_engine.download.errors import DownloadError
from leviathan_engine.download.part import Part
from leviathan_engine.download.retry import Retry
from leviathan_engine.download.source import RemoteFile, checked, hub_files
from leviathan_engine.download.transfer import Settings, Transfer
from leviathan_engine.download.web import Web, host_of
from leviathan_engine.errors import EngineError
from leviathan_engine.gguf import dump

TOOLS = Path(program.__file__).parents[2]
CHUNK = 64 << 10


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    double = HubDouble(
        {
            "README.md": b"read me",
            "Q4/m-00001-of-00002.gguf": noise(1_000_003),
            "Q4/m-00002-of-00002.gguf": noise(300_000, 2),
            "Q8/m.gguf": noise(10, 3),
        }
    )
    yield double
    double.close()


def transfer(hub: HubDouble, folder: Path, said: list[str] | None = None, **more: float) -> Transfer:
    lines = said if said is not None else []
    web = Web(silence_s=more.pop("silence_s", 5.0))
    retry = Retry(int(more.pop("attempts", 6)), 0.01, say=lines.append)
    files = hub_files(web, retry, hub.address, REPOSITORY, "main", ["Q4/*.gguf"])
    return Transfer(files, folder, web, retry, Settings(4, CHUNK, sync_s=0.05, beat_s=0.05), lines.append)


def right(hub: HubDouble, folder: Path) -> bool:
    names = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    return all((folder / name).read_bytes() == hub.files[f"Q4/{name}"] for name in names)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.part*")]


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


def test_cuts_and_refusals_are_resumed_at_the_byte(hub: HubDouble, tmp_path: Path) -> None:
    hub.faults.cuts, hub.faults.refusals = 12, [503, 429, 500]
    said: list[str] = []
    transfer(hub, tmp_path, said).run()
    assert right(hub, tmp_path)
    assert hub.sent == 1_300_003  # not one byte twice
    assert any("ended" in line for line in said)


def test_a_stall_is_left_and_resumed(hub: HubDouble, tmp_path: Path) -> None:
    hub.faults.stalls, hub.faults.stall_s = 2, 60.0
    began = time.monotonic()
    transfer(hub, tmp_path, silence_s=0.3).run()
    assert right(hub, tmp_path)
    assert time.monotonic() - began < 50.0
    # On a busy machine there may be a third silence of 0.3 s: what was on its way then is sent again.
    assert 1_300_003 <= hub.sent < 1_350_000


def test_a_server_that_only_cuts_is_given_up_after_the_attempts_without_a_byte(hub: HubDouble, tmp_path: Path) -> None:
    hub.faults.cuts, hub.faults.cut_after = 10_000, 0
    with pytest.raises(
        DownloadError, match=r"6 attempts in a row got no new byte.*ended .* bytes too early.*it resumes"
    ):
        transfer(hub, tmp_path).run()


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


def run_program(hub: HubDouble, folder: Path, *more: str, environ: dict[str, str] | None = None) -> None:
    arguments = ["--to", str(folder), "--hub", hub.address, "--repo", REPOSITORY, "--include", "Q4/*.gguf"]
    flags = program._parser().parse_args([*arguments, "--pause_s=0.01", "--attempts=4", "--chunk_mib=1", *more])
    program.run(flags, environ or {}, threading.Event())


def url_flags(urls: list[str], folder: Path) -> argparse.Namespace:
    return program._parser().parse_args(["--to", str(folder), "--pause_s=0.01", *(f"--url={each}" for each in urls)])


def test_a_file_that_changes_under_way_is_begun_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_bytes(tmp_path / "src")
    double = HubDouble({"tiny.gguf": noise(len(model), 9)})
    double.faults.rate = len(model) // 2

    def change() -> None:
        time.sleep(0.5)
        double.files["tiny.gguf"] = model
        double.faults.rate = 0

    threading.Thread(target=change).start()
    flags = program._parser().parse_args(
        ["--to", str(tmp_path / "to"), "--pause_s=0.01", f"--url={double.address}/files/tiny.gguf"]
    )
    flags.chunk_mib, flags.connections = 0, 1
    original = part_module.Part.__init__

    def small(self: Part, file: RemoteFile, folder: Path, chunk: int) -> None:
        original(self, file, folder, max(1, len(model) // 8))

    part_module.Part.__init__ = small  # type: ignore[method-assign]
    try:
        program.run(flags, {}, threading.Event())
    finally:
        part_module.Part.__init__ = original  # type: ignore[method-assign]
        double.close()
    assert (tmp_path / "to" / "tiny.gguf").read_bytes() == model
    assert "the source has changed" in capsys.readouterr().out


def test_a_server_without_ranges_is_read_from_the_start(tmp_path: Path) -> None:
    model = tiny_bytes(tmp_path / "src")
    double = HubDouble({"tiny.gguf": model})
    double.faults.ranges, double.faults.cuts = False, 1
    try:
        program.run(url_flags([f"{double.address}/files/tiny.gguf"], tmp_path / "to"), {}, threading.Event())
    finally:
        double.close()
    assert (tmp_path / "to" / "tiny.gguf").read_bytes() == model


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


def test_after_the_machine_has_died_only_what_was_synced_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RemoteFile("x.gguf", "http://127.0.0.1/x", 100, "f" * 64)
    boot = tmp_path / "boot_id"
    boot.write_text("one")
    monkeypatch.setattr(part_module, "BOOT_ID", boot)
    part = Part(file, tmp_path, 40)
    part.write(0, memoryview(b"a" * 30))
    part.sync()
    part.write(0, memoryview(b"b" * 10))
    part.write(1, memoryview(b"c" * 5))
    part.close()
    again = Part(file, tmp_path, 40)
    assert again.written == [40, 5, 0]
    again.close()
    part = Part(file, tmp_path, 40)
    part.write(1, memoryview(b"d" * 5))
    part.close()
    boot.write_text("two")
    after = Part(file, tmp_path, 40)
    assert after.written == [40, 5, 0]
    after.close()


def test_a_part_of_another_version_is_not_continued(tmp_path: Path) -> None:
    one = RemoteFile("x.gguf", "http://127.0.0.1/x", 100, etag='"1"')
    part = Part(one, tmp_path, 40)
    part.write(0, memoryview(b"a" * 40))
    part.close()
    other = Part(RemoteFile("x.gguf", "http://127.0.0.1/x", 100, etag='"2"'), tmp_path, 40)
    assert other.written == [0, 0, 0]
    other.close()


def test_twenty_kills_cost_no_chunk_twice(tmp_path: Path) -> None:
    """SIGKILL at random moments: what is read twice is at most a piece of each connection, below one chunk each."""
    model = tiny_bytes(tmp_path / "src")
    double = HubDouble({f"Q4/{name}": noise(6 << 20, seed) for seed, name in enumerate(("b.bin", "c.bin"))})
    double.files["Q4/a.gguf"] = model
    double.faults.rate = 3 << 20
    folder, kills = tmp_path / "to", 0
    command = [sys.executable, "-m", "leviathan_engine.download", "--to", str(folder), "--hub", double.address]
    command += ["--repo", REPOSITORY, "--include", "Q4/*", "--chunk_mib", "1", "--connections", "2"]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "LEVIATHAN_TERMINATION_LOG": str(tmp_path / "end")}
    dice = random.Random(7)
    try:
        while kills < 20:
            child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            sent = double.sent
            while double.sent < sent + dice.randint(100_000, 300_000) and child.poll() is None:
                time.sleep(0.002)
            assert child.poll() is None, child.communicate()[0].decode()
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
        double.faults.rate = 0
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    finally:
        double.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "DOWNLOAD COMPLETE"
    assert all((folder / path.removeprefix("Q4/")).read_bytes() == content for path, content in double.files.items())
    whole = sum(map(len, double.files.values()))
    twice = double.sent - whole
    assert twice <= 21 * (1 << 20), f"{twice} bytes were sent twice"
