"""The task queue's races: met on upstream's source, gone with our patch.

Needs what a build has and the image does not: a C++ compiler, and both trees.

    KTRANSFORMERS_SDIST     the sdist, unpacked here without patches
    KTRANSFORMERS_SOURCE    the tree that `build.py source` made
"""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BACKEND = "ktransformers/ktransformers_ext/cpu_backend"
SDIST, SOURCE = os.environ.get("KTRANSFORMERS_SDIST"), os.environ.get("KTRANSFORMERS_SOURCE")
COMPILER = shutil.which("clang++-19") or shutil.which("g++")

pytestmark = pytest.mark.skipif(
    not (SDIST and SOURCE and COMPILER), reason="needs KTRANSFORMERS_SDIST, KTRANSFORMERS_SOURCE and a C++ compiler"
)


def compile_race(backend: Path, out: Path) -> Path:
    sources = [HERE / "race" / "race.cpp", backend / "task_queue.cpp", backend / "backend.cpp"]
    folders = [f"-I{HERE / 'race' / 'include'}", f"-I{backend}"]
    argv = [
        str(COMPILER),
        "-std=c++17",
        "-O2",
        "-pthread",
        *folders,
        "-o",
        str(out),
        *map(str, sources),
        "-ldl",
    ]
    subprocess.run(argv, check=True, timeout=120)
    return out


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upstream")
    with tarfile.open(str(SDIST)) as archive:
        for member in archive:
            if f"/{BACKEND}/" in member.name and member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                (folder / Path(member.name).name).write_bytes(content.read())
    return compile_race(folder, folder / "race")


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_race(Path(str(SOURCE)) / BACKEND, tmp_path_factory.mktemp("patched") / "race")


def run(program: Path, mode: str) -> subprocess.CompletedProcess[str]:
    """Four seconds of rounds, and as many again for the watchdog."""
    return subprocess.run([str(program), mode, "4"], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("mode", ["start", "end"])
def test_upstream_hangs(upstream: Path, mode: str) -> None:
    """The control: without it the next test proves nothing. 3 is the watchdog; a crash counts as well."""
    done = run(upstream, mode)
    assert done.returncode == 3 or done.returncode < 0, done.stdout


@pytest.mark.parametrize("mode", ["start", "load", "end"])
def test_patched_does_not(patched: Path, mode: str) -> None:
    done = run(patched, mode)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split()[0]) >= 3


def test_more_threads_than_cpus_give_way(upstream: Path, patched: Path) -> None:
    """With four times as many threads as CPUs upstream's waits hold the CPUs: 37 rounds in 3 s, and 6773 of ours."""
    theirs, ours = run(upstream, "crowd"), run(patched, "crowd")
    assert ours.returncode == 0, ours.stdout
    assert theirs.returncode in (0, 3), theirs.stdout
    rounds = [int(word) for done in (theirs, ours) for word in done.stdout.split() if word.isdecimal()]
    assert rounds[1] > 3 * rounds[0]  # hundreds of times on idle CPUs, seven times next to other builds
