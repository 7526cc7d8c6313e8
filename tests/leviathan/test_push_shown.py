"""push at work: several blobs under way at once, and what it says meanwhile, with and without a terminal."""

import os
import re
import sys
from pathlib import Path

import pytest
from fakes.fault_registry import Fault, FaultRegistry
from push_support import MIB, TOOLS, make_around, make_layout, make_site, start_cli
from terminal import Screen, session

from leviathan.push.push_image import push

#: `push: 1.2 MB of 8.4 MB, 14 %, 2.1 MB/s, 3 s left`
LINE = re.compile(r"push: [\d.]+ [kM]?B of [\d.]+ MB, \d+ %, [\d.]+ [kM]?B/s, \d+ s left$")


@pytest.mark.parametrize("parallel", [1, 3])
def test_so_many_blobs_at_once(parallel: int, tmp_path: Path) -> None:
    """Exactly as many as the site says, also where there are more blobs."""
    layout = make_layout(tmp_path, tuple(200_000 + number for number in range(5)))
    slow = Fault("PUT", "/blobs/uploads/", times=1000, delay_s=0.02)
    with FaultRegistry(slow).serve() as registry:
        push(make_site(registry.host, layout, push_parallel=str(parallel)), make_around(tmp_path)[0])
        assert registry.most_sending == parallel
        assert registry.taken == sum(layout.blobs.values())


def arguments(registry: FaultRegistry, layout: Path, *settings: str) -> list[str]:
    """A push in chunks of 1 MiB."""
    words = [word for setting in ("push.chunk_mib=1", *settings) for word in ("--set", setting)]
    return ["push", "--registry", registry.host, "--layout", str(layout), *words]


def test_lines_without_a_terminal(tmp_path: Path) -> None:
    """What is to be sent and where to; then, as often as push.heartbeat_s says, how far, how fast, how long still."""
    layout = make_layout(tmp_path / "image", (6 * MIB,))
    with FaultRegistry(Fault("PATCH", times=1000, delay_s=0.015)).serve() as registry:
        process = start_cli(tmp_path, *arguments(registry, layout.path, "push.heartbeat_s=1"))
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    first, *beats = err.splitlines()
    assert first == f"push: 2 of 2 blobs to upload, 6.3 MB, to http://{registry.host}/omni/engine"
    beats = beats[:-1] if beats[-1].endswith("100 %, all sent") else beats  # the last chunk may be on its way
    assert len(beats) >= 2
    assert all(LINE.fullmatch(line) for line in beats), err
    percents = [int(re.findall(r"(\d+) %", line)[0]) for line in beats]
    assert percents == sorted(percents)
    assert "\x1b" not in err
    assert "2 blobs uploaded (6.3 MB in " in out


def test_one_line_on_a_terminal(tmp_path: Path) -> None:
    """It is rewritten in place, and gone when the result is there."""
    layout = make_layout(tmp_path / "image", (4 * MIB,))
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "HOME": str(tmp_path), "TERM": "xterm-256color"}
    with FaultRegistry(Fault("PATCH", times=1000, delay_s=0.015)).serve() as registry:
        argv = [sys.executable, "-m", "leviathan", *arguments(registry, layout.path)]
        with session(argv, environ, Screen(24, 120)) as running:
            rows = running.until(" left")
            assert sum(LINE.fullmatch(row) is not None for row in rows) == 1
            assert running.wait() == 0
            assert not any(LINE.fullmatch(row) for row in running.screen.all)
            assert any(row.startswith("2 blobs uploaded (4.2 MB in ") for row in running.screen.all)
