"""Downloads that are cut, stall, change under way, or whose machine dies: what is resumed, and from where."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_support import TOOLS, noise, right, served, transfer, url_flags
from tiny_model import tiny_bytes

from hub_double import REPOSITORY, HubDouble
from leviathan_engine.download import __main__ as program
from leviathan_engine.download import part as part_module
from leviathan_engine.download.errors import DownloadError
from leviathan_engine.download.part import Part
from leviathan_engine.download.source import RemoteFile


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    yield from served()


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
