"""The driver as a process: errors before anything runs, failures and signals while something runs.

clang and ptxas are small scripts here, so that they fail, hang and differ on demand; tests/toolkit has the real ones.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_nvcc.__main__ import thread_count
from leviathan_nvcc.options import OPTIONS

TOOLS = Path(__file__).resolve().parents[2] / "tools"

CLANG = """#!/bin/sh
echo clang "$@" >> "$LOG"
for word in "$@"; do [ "$last" = -o ] && out=$word; last=$word; done
case "$*" in
*" -E "*) case "$*" in *CUDA_ARCH__=1200*) echo "int only_1200;" > "$out";; *) echo "int all;" > "$out";; esac;;
*-emit-llvm*) [ -n "$HANG" ] && { echo $$ > "$HANG"; exec sleep 60; }
  [ -n "$FAIL" ] && { echo "a.cu:1:1: error: wrong"; exit 1; }
  echo "ret void, !srcloc !1" > "$out"; echo "!1 = !{i64 $$}" >> "$out";;
*"-x ir"*) printf '.version 8.5\\n.target sm_90\\n' > "$out";;
esac
"""
PTXAS = """#!/bin/sh
echo ptxas "$@" >> "$LOG"
for word in "$@"; do [ "$last" = -o ] && out=$word; last=$word; done
[ -n "$PTXFAIL" ] && { echo half > "$out"; echo "ptxas fatal: wrong"; exit 255; }
echo cubin > "$out"
"""
THREE = [
    "-gencode=arch=compute_90a,code=sm_90a",
    "-gencode=arch=compute_100,code=sm_100",
    "-gencode=arch=compute_120,code=sm_120",
]


class Box:
    """A working folder with a toolkit whose tools are scripts."""

    def __init__(self, root: Path, toolkit: Path) -> None:
        self.root = root
        self.tmp = root / "tmp"
        self.tmp.mkdir()
        self.log = root / "log"
        for path, text in ((root / "clang++-19", CLANG), (toolkit / "bin" / "ptxas", PTXAS)):
            path.write_text(text)
            path.chmod(0o755)
        (root / "a.cu").write_text("int x;\n")
        self.environment = {
            "PATH": f"{root}:{os.environ['PATH']}",
            "PYTHONPATH": str(TOOLS),
            "TMPDIR": str(self.tmp),
            "LEVIATHAN_CUDA_HOME": str(toolkit),
            "LOG": str(self.log),
        }

    def start(self, *words: str, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "leviathan_nvcc", *words],
            cwd=self.root,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: str) -> tuple[int, str, str]:
        child = self.start(*words, **more)
        out, error = child.communicate(timeout=60)
        return child.returncode, out, error

    def commands(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def box(tmp_path: Path, toolkit: Path) -> Box:
    return Box(tmp_path, toolkit)


def test_version_is_what_setup_scripts_parse(box: Box) -> None:
    for word in ("-V", "--version"):
        code, out, error = box.run(word)
        assert (code, error) == (0, "")
        # KTransformers' setup.py takes the word after "release"; CMake wants V12.8.93.
        words = out.split()
        assert words[words.index("release") + 1] == "12.8,"
        assert "Cuda compilation tools, release 12.8, V12.8.93\n" in out


def test_help_names_every_option(box: Box) -> None:
    _, out, _ = box.run("--help")
    assert all(f"{option.title}\n" in out for option in OPTIONS)
    assert box.run("-arch-ls")[1].split()[-2:] == ["compute_120", "compute_120a"]
    assert box.run("--list-gpu-code")[1].split()[0] == "sm_50"


ERRORS = [
    ([], "No input files specified; use option --help for more information"),
    (["-c", "b.cu"], "Could not open input file 'b.cu': no such file"),
    (["-c", "a.xyz"], "Don't know what to do with 'a.xyz': give -x cu, or a .cu, .cpp, .c, .o, .a or .so file"),
    (["-c", "a.o"], "'a.o' is only for the linker, but the options stop before it: remove the file"),
    (
        ["-c", "a.cu", "a.cu", "-o", "x.o"],
        "A single input file is required for a non-link phase when an outputfile is specified",
    ),
    (["-ptx", "-arch=sm_90", "a.cpp"], "'a.cpp' is not CUDA source, so it has no device code: add -x cu, or use -c"),
    (
        ["-foo", "a.cu"],
        "Unknown option '-foo'; give an option of the host compiler as -Xcompiler OPTION, of the linker as "
        "-Xlinker OPTION",
    ),
    (
        ["-dc", "a.cu"],
        "Option '--device-c (-dc)' is not supported: needs nvlink, which NVIDIA publishes in no wheel; build "
        "whole-program device code (-rdc=false)",
    ),
]


@pytest.mark.parametrize(
    ("words", "message"), ERRORS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_refusals_are_one_line(box: Box, words: list[str], message: str) -> None:
    (box.root / "a.cpp").touch()
    (box.root / "a.o").touch()
    assert box.run(*words) == (1, "", f"nvcc fatal   : {message}\n")
    assert box.commands() == []


def test_architectures_with_equal_source_are_parsed_once(box: Box) -> None:
    code, _, error = box.run("--threads=1", "-c", "a.cu", *THREE)  # one after the other, so their order is known
    assert (code, error) == (
        1,
        f"nvcc fatal   : Could not load {box.environment['LEVIATHAN_CUDA_HOME']}/lib/libnvfatbin"
        ".so.12: " + error.partition(".so.12: ")[2],
    )
    commands = box.commands()
    assert sum(" -E " in line for line in commands) == 3
    assert [line.partition("-D__CUDA_ARCH__=")[2].split()[0] for line in commands if "-emit-llvm" in line] == [
        "900",
        "1200",
    ]
    assert sum("-x ir" in line for line in commands) == 1
    assert sorted(line.split()[3] for line in commands if line.startswith("ptxas")) == [
        "-arch=sm_100",
        "-arch=sm_120",
        "-arch=sm_90a",
    ]


def test_a_dry_run_prints_what_a_run_would_do(box: Box) -> None:
    code, out, error = box.run("-dryrun", "-c", "a.cu", "-MD", *THREE)
    assert (code, out) == (0, "")
    assert error.startswith(f"#$ TOP={box.environment['LEVIATHAN_CUDA_HOME']}\n#$ ")
    assert error.count("-emit-llvm") == error.count("/ptxas ") == 3
    assert error.count("-fcuda-include-gpubinary") == 1
    assert box.commands() == []
    assert sorted(path.name for path in box.root.iterdir()) == ["a.cu", "clang++-19", "cuda", "tmp"]


FAILURES = [({"FAIL": "1"}, 1, "a.cu:1:1: error: wrong\n"), ({"PTXFAIL": "1"}, 255, "ptxas fatal: wrong\n")]


@pytest.mark.parametrize(("more", "status", "said"), FAILURES, ids=["clang", "ptxas"])
def test_a_failed_tool_leaves_the_old_output(box: Box, more: dict[str, str], status: int, said: str) -> None:
    (box.root / "a.cubin").write_text("old")
    words = ["-cubin", "-gencode=arch=compute_90,code=sm_90", "a.cu", "-MD", "--leviathan-report", "r.json"]
    assert box.run(*words, **more) == (status, "", said)
    assert (box.root / "a.cubin").read_text() == "old"
    assert not (box.root / "a.d").exists()
    assert not (box.root / "r.json").exists()
    assert list(box.tmp.iterdir()) == []
    # The positive control: the same words without the failure.
    assert box.run(*[word for word in words if word != "-MD"])[0] == 0
    assert (box.root / "a.cubin").read_text() == "cubin\n"
    assert (box.root / "r.json").exists()
    assert list(box.tmp.iterdir()) == []


def test_an_output_folder_that_is_not_there(box: Box) -> None:
    code, _, error = box.run("-ptx", "-arch=sm_90", "a.cu", "-o", "no/a.ptx")
    assert (code, error) == (1, "nvcc fatal   : Could not write 'no/a.ptx': No such file or directory\n")


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(box: Box, number: signal.Signals) -> None:
    pid = box.root / "pid"
    child = box.start("-c", "a.cu", "-o", "a.o", *THREE, HANG=str(pid))
    wait_for(lambda: pid.exists() and pid.read_text().endswith("\n"))
    assert len(list(box.tmp.iterdir())) == 1
    child.send_signal(number)
    child.communicate(timeout=30)
    assert child.returncode == 128 + number
    assert list(box.tmp.iterdir()) == []
    assert not (box.root / "a.o").exists()
    wait_for(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


@pytest.mark.parametrize(
    ("wanted", "archs", "count"), [(3, 1, 3), (0, 1, 8), (None, 3, 3), (None, 20, 8), (None, 0, 1)]
)
def test_threads(monkeypatch: pytest.MonkeyPatch, wanted: int | None, archs: int, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert thread_count(wanted, archs) == count
