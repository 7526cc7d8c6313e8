"""Builds on a host where something is wrong: one line with what to do, a non-zero status, and nothing broken after."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from host_support import ROOT, call, change_launcher, derivation, output, small_disk

from leviathan_fetch.store import nar_hash

HERE = Path(__file__).parent


def sentence(text: str, part: str) -> str:
    """The one line of `text` that has `part`."""
    found = [line for line in text.splitlines() if part in line]
    assert len(found) >= 1, text
    return found[0]


def test_an_artifact_that_is_missing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    seed = derivation("seed")
    seed_output = output("nix-store", "-q", "--outputs", seed)
    output("nix", "copy", "--no-check-sigs", "--to", str(store), seed_output)
    done = call("nix", "build", "--store", str(store), ".#leviathan-image", "--no-link")
    assert done.returncode != 0
    assert "run: make fetch" in sentence(done.stderr, "is not in the store")


def test_the_sandbox_is_off() -> None:
    done = call("nix-store", "--realise", "--check", derivation("launcher"), "--option", "sandbox", "false")
    assert done.returncode != 0
    assert "'sandbox = true' into nix.conf" in sentence(done.stderr, "leviathan: the Nix sandbox is off")
    assert call("nix-store", "--realise", "--check", derivation("launcher")).returncode == 0  # the control


def test_a_host_that_forbids_user_namespaces() -> None:
    check = [str(ROOT / "scripts" / "nix-store"), "--realise", "--check", derivation("launcher")]
    script = [sys.executable, str(HERE / "user_namespace.py")]
    one, many = (  # one: Nix's own sandbox takes it, and none is left for the builder
        subprocess.run([*script, limit, *check], capture_output=True, text=True, check=False) for limit in ("1", "100")
    )
    assert one.returncode != 0
    assert "sysctl -w user.max_user_namespaces" in sentence(one.stderr, "forbids user namespaces")
    assert many.returncode == 0, many.stderr


@pytest.mark.parametrize("file", ["nix/locks/debian.json", "nix/locks/sources.json", "poetry.lock"])
def test_a_lock_that_does_not_parse(clone: Path, file: str) -> None:
    lock = clone / file
    whole = lock.read_text()
    for damaged, why in (("", "it is empty"), (whole[:-9], "it is cut off"), (f"<<<<<<< ours\n{whole}", "a merge")):
        lock.write_text(damaged)
        done = call("nix", "eval", "--raw", ".#lib.artifacts", cwd=clone)
        line = sentence(done.stderr, f"{file} does not parse")
        assert done.returncode != 0
        assert why in line
        assert f"git checkout {file}" in line
    lock.write_text(whole.replace("\n", "\n}{", 1))  # what Nix's parser reports without the file's name
    done = subprocess.run(["make", "fetch"], cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    line = sentence(done.stderr, "is not TOML" if file == "poetry.lock" else "is not JSON")
    assert file in line
    assert "make lock" in line or "git checkout" in line


def test_a_full_disk(tmp_path: Path) -> None:
    image = output("nix", "eval", "--raw", ".#leviathan-image.drvPath")
    layer = output("nix-store", "-q", "--outputs", derivation("layer-python"))
    with small_disk(tmp_path / "disk", "40m") as disk:
        done = call("nix", "copy", "--no-check-sigs", "--to", str(disk), layer)
        assert done.returncode != 0
        assert "No space left on device" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
        output("nix", "copy", "--no-check-sigs", "--to", str(disk), layer)
        output("nix-store", "--store", str(disk), "--verify", "--check-contents")
    assert Path(image).is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_is_gone_on_with(clone: Path, number: signal.Signals) -> None:
    change_launcher(clone, f"{number.name} {time.time_ns()}")
    argv = [str(clone / "scripts" / "nix"), "build", ".#leviathan-image", "--out-link", "result"]
    with subprocess.Popen(argv, cwd=clone, stderr=subprocess.PIPE, text=True) as build:
        assert build.stderr is not None
        for line in build.stderr:
            if line.startswith("building "):
                build.send_signal(number)
                break
        said = build.stderr.read()
    assert build.returncode != 0, said
    assert not (clone / "result").exists()
    output("nix", "build", ".#leviathan-image", "--out-link", "result", cwd=clone)
    assert (clone / "result" / "index.json").is_file()


def test_two_builds_at_the_same_time(clone: Path) -> None:
    change_launcher(clone, f"twice {time.time_ns()}")
    argv = [str(clone / "scripts" / "nix"), "build", ".#leviathan-image", "--no-link", "--json"]
    builds = [subprocess.Popen(argv, cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    answers = [build.communicate(timeout=250)[0] for build in builds]
    assert [build.returncode for build in builds] == [0, 0]
    assert answers[0] == answers[1] != b""


def test_the_development_shell_starts_without_an_error() -> None:
    done = call("nix", "develop", "-c", "leviathan", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("leviathan ")
    assert "error" not in done.stderr


def test_the_hash_of_a_folder_is_the_one_that_nix_checks(tmp_path: Path) -> None:
    """The hash that `make lock` writes for the seed, of the seed in the store; and another folder's is another."""
    locked = json.loads((ROOT / "nix" / "locks" / "debian.json").read_text())["seed"]["narHash"]
    folder = Path(output("nix-store", "-q", "--outputs", derivation("seed")))
    assert nar_hash(folder) == locked
    (tmp_path / "bin").mkdir()
    assert nar_hash(tmp_path) != locked
