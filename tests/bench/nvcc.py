"""Our nvcc compared with NVIDIA's: the same source, the same architecture, in turns, in the same sandbox."""

import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

from . import nix
from .errors import Missing
from .table import Line, NotRun, Row
from .wheels import FOLDER, Run, Wheels, fetched, with_pip

WHAT = "CUDA compile, Marlin for DeepSeek-V3 (4 bits, groups of 64), sm_90a"
# Only NVIDIA's toolkit has cudafe++; ours, which may be on PATH or CUDA_HOME, does without.
MARK = "bin/cudafe++"
USUAL = Path("/usr/local/cuda")
WHEELS = Wheels(Path(__file__).resolve().with_name("nvcc.txt"), ("manylinux2014_x86_64", "manylinux2010_x86_64"))
PROGRAMS = ("bin/*", "nvvm/bin/*")
RACE = Path(__file__).resolve().with_name("compile_race.nix")


def on_this_machine(environment: Mapping[str, str], usual: Path = USUAL) -> Path | None:
    """NVIDIA's toolkit where one is installed: CUDA_HOME, CUDA_PATH, the nvcc on PATH, the usual folder."""
    named = [environment[name] for name in ("CUDA_HOME", "CUDA_PATH") if environment.get(name)]
    program = shutil.which("nvcc", path=environment.get("PATH", ""))
    found = [*map(Path, named), *([Path(program).resolve().parents[1]] if program else []), usual]
    return next((each.resolve() for each in found if (each / MARK).is_file()), None)


def unpack(paths: list[Path], folder: Path) -> None:
    """NVIDIA's wheels as one toolkit, its programs executable: whole, or not there at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        for wheel in paths:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(work)
        root = Path(work) / "nvidia" / "cu13"
        for glob in PROGRAMS:
            for program in root.glob(glob):
                program.chmod(0o755)
        root.rename(folder)


def from_wheels(cache: Path = FOLDER, wheels: Wheels = WHEELS, run: Run = with_pip) -> Path:
    """NVIDIA's nvcc out of the wheels that pip brings.

    Raises:
        Missing: pip cannot bring them.
    """
    folder = cache / str(wheels.pins()[0]).replace("==", "-")
    if not folder.is_dir():
        unpack(fetched(wheels, cache, run), folder)
    return folder


def find(given: Path | None, environment: Mapping[str, str]) -> Path:
    """The toolkit to compare with.

    Args:
        given: what the user named; None for this machine's, and without one pip's.
        environment: the process's.

    Raises:
        Missing: what was named is none, or there is none and pip cannot bring one.
    """
    if given is not None:
        if not (given / MARK).is_file():
            raise Missing(f"{given} has no {MARK}: name the folder of NVIDIA's CUDA toolkit with --nvcc")
        return given.resolve()
    installed = on_this_machine(environment)
    if installed is not None:
        return installed
    try:
        return from_wheels()
    except Missing as problem:
        raise Missing(f"no nvcc on this machine (CUDA_HOME, PATH, {USUAL}), and {problem}") from problem


def race(theirs: Path | None) -> dict[str, object]:
    """What compile_race.py measured in a build of its own; it fails as that build does, with BenchError."""
    argv = ["--file", str(RACE), "--argstr", "nonce", str(time.time_ns()), "race"]
    if theirs is not None:
        argv += ["--argstr", "theirs", "--theirs /nix/nvcc"]
        argv += ["--option", "extra-sandbox-paths", f"/nix/nvcc={theirs}"]
    (out,) = nix.build(*argv)
    return dict(json.loads(out.read_text(encoding="utf-8")))


def rows(found: Mapping[str, object], why: str) -> list[Line]:
    """The rows of a race; `why` there was none of NVIDIA's, or ""."""
    ours, theirs, stopped = found["ours"], found["theirs"], found["stopped"]
    assert isinstance(ours, list)
    assert isinstance(theirs, list)
    detail = f"ours: {', '.join(f'{each:.1f}' for each in ours)}; theirs: {', '.join(f'{each:.1f}' for each in theirs)}"
    if why:
        return [Row(WHAT, min(ours), "s", detail=detail), NotRun(f"{WHAT}, compared with nvcc", why)]
    against = f"nvcc {found['version']}"
    if isinstance(stopped, float):
        return [Row(WHAT, min(ours), "s", stopped, f"{against}, stopped", most_ratio=1, at_least=True, detail=detail)]
    return [Row(WHAT, min(ours), "s", min(theirs), against, most_ratio=1, detail=detail)]


def measure(given: Path | None) -> list[Line]:
    """The rows of this part; without an nvcc of NVIDIA's ours alone, and why."""
    theirs, why = None, ""
    try:
        theirs = find(given, os.environ)
    except Missing as problem:
        why = str(problem)
    return rows(race(theirs), why)
