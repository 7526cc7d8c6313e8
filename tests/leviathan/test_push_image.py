"""push of the built image, bytes and numbers: LEVIATHAN_IMAGE=result python -m pytest FILE. Else nothing is run."""

import filecmp
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from push_support import REPOSITORY, TAG, find_program, real_registry, start_cli
from test_push_real import children, high_water

MOST_KIB = 200 * 1024
CHUNK = 128 << 20


def watched(process: subprocess.Popen[str], peak: dict[str, int]) -> None:
    """Note the most memory that the process and its children have had, in KiB, for this moment."""
    for pid in (str(process.pid), *children(process.pid)):
        peak[pid] = max(peak.get(pid, 0), high_water(pid))


pytestmark = pytest.mark.skipif("LEVIATHAN_IMAGE" not in os.environ, reason="LEVIATHAN_IMAGE names no layout of 3 GB")


def test_what_skopeo_pulls_is_what_was_built(tmp_path: Path) -> None:
    """inspect has the manifest's digest; copy brings every blob back, bit for bit; each was sent once."""
    skopeo = find_program("skopeo", "LEVIATHAN_SKOPEO_BIN")
    layout = Path(os.environ["LEVIATHAN_IMAGE"]).resolve()
    built = {path.name: path.stat().st_size for path in (layout / "blobs/sha256").iterdir()}
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    (tmp_path / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    base = [skopeo, "--policy", str(tmp_path / "policy.json"), "--tmpdir", str(tmp_path)]
    with real_registry(tmp_path) as registry:
        process = start_cli(tmp_path, "push", "--registry", registry.host, "--layout", str(layout), "--json")
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        sent = {each["digest"][7:]: each["bytes_sent"] for each in json.loads(out)["blobs"]}
        assert sent == {name: size for name, size in built.items() if name != entry["digest"][7:]}
        source = f"docker://{registry.host}/{REPOSITORY}:{TAG}"
        inspect = [*base, "inspect", "--no-tags", "--tls-verify=false", source]
        shown = subprocess.run(inspect, check=True, capture_output=True, text=True, timeout=60)
        assert json.loads(shown.stdout)["Digest"] == entry["digest"]
        target = f"oci:{tmp_path}/back:{TAG}"
        copy = [*base, "copy", "-q", "--preserve-digests", "--src-tls-verify=false", source, target]
        subprocess.run(copy, check=True, timeout=200)
    for name in built:
        assert filecmp.cmp(layout / "blobs/sha256" / name, tmp_path / "back/blobs/sha256" / name, shallow=False), name


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
