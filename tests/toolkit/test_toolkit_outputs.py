"""Bytes that do not depend on where, when and how parallel; make rules; reports; errors."""

import json
import shutil
from pathlib import Path

import pytest
from toolkit_bench import KERNELS, THREE, Bench

DRIVER = Path(__file__).resolve().parents[2] / "tools" / "leviathan_nvcc"


def place(bench: Bench, name: str) -> Path:
    """A working folder of its own with a TMPDIR of its own."""
    folder = bench.root / name
    (folder / "temporary").mkdir(parents=True)
    for file in KERNELS.iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder


OPTIONS = [
    ("-O3",),
    ("-O3", "--use_fast_math", "-Xcompiler", "-fPIC", "-std=c++17"),
    ("-g", "-lineinfo", "-O1"),
    ("-g", "-G"),
    ("-gencode=arch=compute_120,code=compute_120", "--compress-mode=size"),
]


@pytest.mark.parametrize("source", ["names.cu", "arch.cu"])
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_objects_are_the_same_everywhere(bench: Bench, source: str, options: tuple[str, ...]) -> None:
    """Another folder, TMPDIR, number of threads, order of options and output name: the same bytes."""
    here, there = place(bench, "here"), place(bench, "a much longer name/there")
    bench.compile("-c", source, "-o", "x.o", *THREE, *options, "--threads=1", cwd=here, TMPDIR=str(here / "temporary"))
    bench.compile(
        "--threads",
        "3",
        *options,
        *reversed(THREE),
        "-c",
        source,
        "-o",
        "temporary/y.o",
        "-MD",
        "-MF",
        "y.d",
        cwd=there,
        TMPDIR=str(there / "temporary"),
        SOURCE_DATE_EPOCH="0",
        LC_ALL="C",
    )
    one, two = (here / "x.o").read_bytes(), (there / "temporary" / "y.o").read_bytes()
    assert one == two
    for word in (b"leviathan-nvcc-", b"temporary", str(bench.root).encode()):
        assert word not in one
    # The positive control: a changed source changes the object.
    (there / source).write_text((there / source).read_text() + "\n__device__ int added = 1;\n")
    bench.compile("-c", source, "-o", "z.o", *THREE, *options, cwd=there)
    assert (there / "z.o").read_bytes() != one


def test_make_rules_name_every_pass(bench: Bench) -> None:
    bench.compile("-c", "deps.cu", "-o", "deps.o", *THREE, "-MD", "-MF", "deps.mk", "-MT", "the-target", "-MP")
    text = (bench.root / "deps.mk").read_text()
    assert text.startswith("the-target: \\\n  deps.cu \\\n")
    assert "only\\ device.h" in text
    assert "only_host.h" in text
    assert "include/cuda.h" in text
    assert "\nonly_host.h:\n" in text
    bench.compile("-c", "deps.cu", *THREE, "--generate-nonsystem-dependencies-with-compile")
    text = (bench.root / "deps.d").read_text()
    assert text.startswith("deps.o: \\\n")
    assert "only\\ device.h" in text
    assert "include/cuda.h" not in text
    # Without sm_120 nothing includes the device's header.
    bench.compile("-c", "deps.cu", THREE[0], "-MMD")
    text = (bench.root / "deps.d").read_text()
    assert "only\\ device.h" not in text
    assert "only_host.h" in text


def test_make_rules_alone(bench: Bench) -> None:
    done = bench.compile("-MM", "deps.cu", *THREE)
    assert done.out.startswith("deps.o: \\\n  deps.cu")
    assert "only\\ device.h" in done.out
    assert not (bench.root / "deps.o").exists()
    bench.compile("-M", "deps.cu", *THREE, "-o", "out.d")
    assert "include/cuda.h" in (bench.root / "out.d").read_text()


def test_reports_and_their_check(bench: Bench) -> None:
    (bench.root / "reports").mkdir()
    words = ("-c", "stack.cu", "-o", "stack.o", *THREE)
    bench.compile(*words, "--leviathan-report", "mine.json", LEVIATHAN_NVCC_REPORT_DIR="reports")
    mine, theirs = bench.root / "mine.json", bench.root / "reports" / "stack.o.json"
    assert mine.read_bytes() == theirs.read_bytes()
    rows = {(row["kernel"], row["arch"]): row for row in json.loads(mine.read_text())["kernels"]}
    assert len(rows) == 6
    for arch in ("sm_90a", "sm_100", "sm_120"):
        assert rows["_Z5stackPiPKii", arch]["stack"] >= 256
        assert rows["_Z8no_stackPi", arch]["stack"] == 0
        assert rows["_Z8no_stackPi", arch]["registers"] > 0


def test_a_register_array_stays_in_registers(bench: Bench) -> None:
    """The pattern of Marlin's act_order scales: 128 bytes of local memory when common stores are sunk."""
    bench.compile("-cubin", "-gencode=arch=compute_90a,code=sm_90a", "math.cu", "--leviathan-report", "r.json")
    rows = {row["kernel"]: row for row in json.loads((bench.root / "r.json").read_text())["kernels"]}
    assert rows["_Z7vectorsP4FourPKS_ib"]["stack"] == 0


ERRORS = [
    ((), 1, "wrong.cu:6:12: error: use of undeclared identifier 'undeclared'"),
    (("-DBAD_ASM",), 255, "ptxas"),
    (("-include", "not-there.h"), 1, "'not-there.h' file not found"),
]


@pytest.mark.parametrize(("words", "code", "message"), ERRORS, ids=["clang", "ptxas", "header"])
def test_the_tools_errors_pass_through(bench: Bench, words: tuple[str, ...], code: int, message: str) -> None:
    (bench.root / "temporary").mkdir()
    done = bench.run("-c", "wrong.cu", "-o", "wrong.o", "-MD", *THREE, *words, TMPDIR=str(bench.root / "temporary"))
    assert (done.code, done.out) == (code, "")
    assert message in done.error
    assert "Traceback" not in done.error
    assert list((bench.root / "temporary").iterdir()) == []
    assert not [path.name for path in bench.root.iterdir() if path.suffix in (".o", ".d", ".tmp")]


def test_each_message_comes_once(bench: Bench) -> None:
    (bench.root / "warn.cu").write_text("__global__ void k(int* x) { int unused_name; x[0] = 1 / 0; }\n")
    done = bench.compile("-c", "warn.cu", *THREE)
    assert done.error.count("-Wdivision-by-zero") == 1
    assert bench.compile("-c", "warn.cu", *THREE, "-w").error == ""
    assert bench.compile("-c", "warn.cu", *THREE, "-Xcompiler", "-Wno-division-by-zero").error == ""
    assert bench.run("-c", "warn.cu", *THREE, "-Werror", "all-warnings").code == 1


@pytest.mark.skipif(not DRIVER.is_dir(), reason="only these tests are here, not the driver's source")
def test_the_toolkit_holds_this_driver(bench: Bench) -> None:
    """The tests check the code in the toolkit; this one fails when the driver's source differs."""
    installed = bench.nvcc.parents[1] / "share" / "nvcc-driver" / "leviathan_nvcc"
    for file in sorted(DRIVER.rglob("*")):
        if file.suffix in (".py", ".h"):
            assert (installed / file.relative_to(DRIVER)).read_bytes() == file.read_bytes(), file.name
