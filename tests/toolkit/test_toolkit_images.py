"""What comes out: exactly the images asked for, each compiled for its own architecture."""

import re
from pathlib import Path

import pytest
from toolkit_bench import THREE, Bench

SETS = [
    (THREE, ["sm_100.cubin", "sm_120.cubin", "sm_90a.cubin"]),
    (("-arch=sm_90",), ["sm_90.cubin", "sm_90.ptx"]),
    (("-gencode", "arch=compute_120,code=[sm_120,compute_120]"), ["sm_120.cubin", "sm_120.ptx"]),
    (
        ("-gencode=arch=compute_80,code=sm_86", "-gencode=arch=compute_90a,code=compute_90a"),
        ["sm_86.cubin", "sm_90a.ptx"],
    ),
    (("-arch=sm_120a",), ["sm_120a.cubin", "sm_120a.ptx"]),
]


@pytest.mark.parametrize(("words", "images"), SETS)
def test_objects_hold_exactly_what_was_asked_for(bench: Bench, words: tuple[str, ...], images: list[str]) -> None:
    bench.compile("-c", "add.cu", "-o", "add.o", "-std=c++17", *words)
    assert bench.images("add.o") == images


@pytest.mark.parametrize(
    ("suffix", "macro", "version"), [("80", 800, ""), ("90a", 900, ""), ("100", 1000, "8.6"), ("120", 1200, "8.7")]
)
def test_each_architecture_has_its_own_macro_and_target(bench: Bench, suffix: str, macro: int, version: str) -> None:
    bench.compile("-ptx", f"-gencode=arch=compute_{suffix},code=sm_{suffix}", "arch.cu")
    text = (bench.root / "arch.ptx").read_text()
    assert f".target sm_{suffix}\n" in text
    assert re.search(rf"mov\.b32 \t%r\d+, {macro};", text)
    assert ("setmaxnreg" in text) == suffix.endswith("a")
    assert ("add.rn.f32x2" in text) == (macro >= 1000)
    if version:
        assert f".version {version}\n" in text


def passes(log: str) -> tuple[int, int]:
    """How often the front end and the back end ran."""
    return log.count("-emit-llvm"), log.count("-x ir")


SHARED = [("add.cu", (1, 1)), ("unused.cu", (2, 1)), ("arch.cu", (3, 3))]


@pytest.mark.parametrize(("source", "count"), SHARED)
def test_equal_code_is_compiled_once_and_only_that(bench: Bench, source: str, count: tuple[int, int]) -> None:
    """The cubins of a shared compilation are those of each architecture compiled alone."""
    stem = Path(source).stem
    done = bench.compile("-v", "-fatbin", source, *THREE, "--keep", "--keep-dir", ".", "-o", "all.fatbin")
    assert passes(done.error) == count
    for words in THREE:
        code = words.rpartition("=")[2]
        bench.compile("-cubin", words, source, "-o", "alone.cubin")
        assert (bench.root / f"{stem}.{code}.cubin").read_bytes() == (bench.root / "alone.cubin").read_bytes()


def test_kept_files_and_the_fat_binary_agree(bench: Bench) -> None:
    bench.compile("-fatbin", "add.cu", *THREE, "--keep-dir", ".")
    bench.dump("add.fatbin", "-xelf", "all")
    for code in ("sm_90a", "sm_100", "sm_120"):
        extracted = next(bench.root.glob(f"add*.{code}.cubin.*"), None) or bench.root / f"add.{code}.cubin"
        assert extracted.read_bytes()[:4] == b"\x7fELF"
    assert sorted(path.name for path in bench.root.glob("add*.ptx")) == [
        "add.compute_100.ptx",
        "add.compute_120.ptx",
        "add.compute_90a.ptx",
    ]


def test_compression(bench: Bench) -> None:
    for mode in ("none", "size"):
        bench.compile("-fatbin", "math.cu", *THREE, f"--compress-mode={mode}", "-o", f"{mode}.fatbin")
        assert len(bench.images(f"{mode}.fatbin")) == 3
    assert (bench.root / "size.fatbin").stat().st_size < 0.8 * (bench.root / "none.fatbin").stat().st_size
