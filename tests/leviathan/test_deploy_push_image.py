"""The numbers of push on the built image: LEVIATHAN_IMAGE=result python -m pytest FILE. Without it, nothing is run."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from push_support import real_registry, start_cli
from test_deploy_push_real import children, high_water

MOST_KIB = 200 * 1024
CHUNK = 128 << 20


def watched(process: subprocess.Popen[str], peak: dict[str, int]) -> None:
    """Note the most memory that the process and its children have had, in KiB, for this moment."""
    for pid in (str(process.pid), *children(process.pid)):
        peak[pid] = max(peak.get(pid, 0), high_water(pid))


@pytest.mark.skipif("LEVIATHAN_IMAGE" not in os.environ, reason="LEVIATHAN_IMAGE names no layout: 3 GB, half a minute")
def test_killed_at_half_of_the_images_biggest_blob(tmp_path: Path) -> None:
    """SIGKILL at half of the biggest layer: at most one chunk is sent again; then a push that only looks."""
    layout = Path(os.environ["LEVIATHAN_IMAGE"]).resolve()
    size = max(path.stat().st_size for path in (layout / "blobs/sha256").iterdir())
    with real_registry(tmp_path) as registry:
        arguments = ("push", "--registry", registry.host, "--layout", str(layout))
        peak: dict[str, int] = {}
        process = start_cli(tmp_path, *arguments)
        while registry.partial() < size // 2:
            assert process.poll() is None, "it ended before half"
            watched(process, peak)
            time.sleep(0.01)
        process.kill()
        at_kill = registry.partial()
        process.wait(10)
        assert 10_000 < sum(peak.values()) < MOST_KIB

        peak = {}
        again = start_cli(tmp_path, *arguments, "--json")
        while again.poll() is None:
            watched(again, peak)
            time.sleep(0.01)
        out, err = again.communicate()
        assert again.returncode == 0, err
        assert 10_000 < sum(peak.values()) < MOST_KIB
        [blob] = [each for each in json.loads(out)["blobs"] if each["bytes"] == size]
        assert blob["resumed_at"] >= at_kill - CHUNK
        assert blob["resumed_at"] + blob["bytes_sent"] == size

        seconds = []
        for _ in range(3):
            began = time.monotonic()
            unchanged = start_cli(tmp_path, *arguments, "--debug")
            out, err = unchanged.communicate(timeout=60)
            seconds.append(time.monotonic() - began)
            asked = [line.split()[1] for line in err.splitlines() if line.startswith("debug: ") and "http" in line]
            assert set(asked) == {"HEAD"}
            assert "nothing to do" in out
        assert min(seconds) <= max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
