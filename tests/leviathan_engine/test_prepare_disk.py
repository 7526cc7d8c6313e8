"""When the launcher mounts, and what: by LEVIATHAN_DEVICE and LEVIATHAN_MOUNT_POINT, and by what is already there."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from leviathan_engine.launcher import prepare
from leviathan_engine.machine import disk
from leviathan_engine.machine.blockdev import SYSFS
from leviathan_engine.machine.disk import Disk

TOOLS = Path(__file__).resolve().parents[2] / "tools"
ApiRequest = list[tuple[Path, Path | None]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> ApiRequest:
    """What `disk.provide` is asked for; test_disk.py has what it does."""
    seen: ApiRequest = []

    def provide(point: Path, device: Path | None = None, kind: str = "xfs") -> Disk:
        seen.append((point, device))
        return Disk(point, "mounted (nvme0n1p1)")

    monkeypatch.setattr(disk, "provide", provide)
    return seen


def find(path: Path, **environ: str) -> list[str]:
    said: list[str] = []
    prepare.find_disk(path, environ, said.append)
    return said


def test_a_configured_device_is_mounted_even_if_the_model_is_there(tmp_path: Path, asked: ApiRequest) -> None:
    said = find(tmp_path, LEVIATHAN_DEVICE="/dev/nvme0n1p1", LEVIATHAN_MOUNT_POINT="/m")
    assert asked == [(Path("/m"), Path("/dev/nvme0n1p1"))]
    assert said == ["/m: mounted (nvme0n1p1)"]


def test_without_one_it_is_looked_for_where_the_model_is_missing(tmp_path: Path, asked: ApiRequest) -> None:
    find(Path("/models/absent/deepseek-v3-gguf"))
    assert asked == [(Path("/models"), None)]
    find(tmp_path / "m" / "absent", LEVIATHAN_MOUNT_POINT=str(tmp_path / "m"))
    assert asked[1:] == [(tmp_path / "m", None)]


def test_a_model_that_is_there_or_elsewhere_needs_no_disk(tmp_path: Path, asked: ApiRequest) -> None:
    """As in the unprivileged pod, where the kubelet has mounted it."""
    assert find(tmp_path, LEVIATHAN_MOUNT_POINT=str(tmp_path)) == []
    assert find(tmp_path / "absent") == []
    assert asked == []


def test_the_launcher_stops_with_what_was_found(tmp_path: Path) -> None:
    """A missing device ends the start; the runbook's `|| echo` continued. A build's sandbox has no /sys."""
    log, device = tmp_path / "log", "/dev/no-such-device0p1"
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(TOOLS),
        "LEVIATHAN_STATE": str(tmp_path / "s"),
        "LEVIATHAN_TERMINATION_LOG": str(log),
        "LEVIATHAN_MOUNT_POINT": str(tmp_path / "m"),
        "LEVIATHAN_DEVICE": device,
    }
    argv = [sys.executable, "-m", "leviathan_engine", "--model_path", str(tmp_path / "m"), "--host", "127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    argv += ["--port", str(port), "--", "--device", "cpu"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    found = f"{device} is not a block device of this node; found: "
    assert last.startswith(f"error: {found if SYSFS.is_dir() else f'cannot list the block devices: {SYSFS}: '}")
    assert log.read_text() == last.removeprefix("error: ")
