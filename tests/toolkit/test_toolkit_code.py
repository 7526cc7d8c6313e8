"""Code generation: the same PTX as clang's own CUDA driver, nvcc's switches, nvcc's semantics on the host."""

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from toolkit_bench import Bench

ARCH = "-gencode=arch=compute_90,code=sm_90"


def instructions(ptx: str) -> str:
    """PTX without comments, blank lines and its head."""
    lines = (re.sub(r"\s*//.*", "", line) for line in ptx.splitlines())
    return "\n".join(line for line in lines if line.strip() and not line.startswith((".version", ".target")))


FAST = (
    "-fgpu-flush-denormals-to-zero",
    "-fgpu-approx-transcendentals",
    "-mllvm",
    "-nvptx-prec-divf32=0",
    "-mllvm",
    "-nvptx-prec-sqrtf32=0",
    "-D__USE_FAST_MATH__",
)


@pytest.mark.parametrize("source", ["math.cu", "names.cu", "add.cu"])
@pytest.mark.parametrize(("words", "clangs"), [((), ()), (("--use_fast_math",), FAST)], ids=["precise", "fast"])
def test_two_steps_give_what_clang_gives_in_one(
    bench: Bench, source: str, words: tuple[str, ...], clangs: tuple[str, ...]
) -> None:
    """Splitting front end and back end loses nothing that clang's driver does for a CUDA source."""
    bench.compile("-ptx", ARCH, *words, source, "-o", "two.ptx")
    clang = shutil.which(os.environ.get("LEVIATHAN_CLANG", "clang++-19"))
    assert clang is not None
    headers = bench.nvcc.parents[1] / "share" / "nvcc-driver" / "leviathan_nvcc" / "include"
    subprocess.run(
        [
            clang,
            "-x",
            "cuda",
            f"--cuda-path={bench.nvcc.parents[1]}",
            "--cuda-gpu-arch=sm_90",
            "--cuda-device-only",
            "-S",
            "-O3",
            "-Wno-unknown-cuda-version",
            "-idirafter",
            str(headers / "fallback"),
            "-fno-strict-aliasing",
            "-mllvm",
            "-inline-threshold=100000",
            "-mllvm",
            "-sink-common-insts=false",
            *clangs,
            source,
            "-o",
            "one.ptx",
        ],
        cwd=bench.root,
        check=True,
        timeout=600,
    )
    one, two = (instructions((bench.root / f"{name}.ptx").read_text()) for name in ("one", "two"))
    # The one intended difference: clang's driver makes every square root approximate.
    assert one.replace("sqrt.approx.f32", "sqrt.rn.f32") == two
    assert len(two.splitlines()) > 20


SWITCHES = [
    ((), ["fma.rn.f32", "div.rn.f32", "sqrt.rn.f32", "fma.rn.f64"], ["rn.ftz.f32", "sin.approx"]),
    (("--use_fast_math",), ["fma.rn.ftz.f32", "div.approx.ftz.f32", "sqrt.approx.ftz.f32", "sin.approx.ftz.f32"], []),
    (("--fmad=false",), ["div.rn.f32"], ["fma.rn.f32 \t%f1,"]),
    (("--ftz=true",), ["div.rn.ftz.f32", "sqrt.rn.ftz.f32"], ["sin.approx"]),
    (("--prec-div=false",), ["div.full.f32", "sqrt.rn.f32"], ["div.rn.f32"]),
    (("--prec-sqrt=false",), ["div.rn.f32", "sqrt.approx.f32"], ["sqrt.rn.f32"]),
    (("--use_fast_math", "--prec-div=true"), ["div.rn.ftz.f32", "sin.approx.ftz.f32"], ["div.approx"]),
]


@pytest.mark.parametrize(("words", "there", "absent"), SWITCHES)
def test_floating_point_switches(bench: Bench, words: tuple[str, ...], there: list[str], absent: list[str]) -> None:
    bench.compile("-ptx", ARCH, *words, "math.cu")
    text = (bench.root / "math.ptx").read_text()
    assert [word for word in there if word not in text] == []
    assert [word for word in absent if word in text] == []


def test_line_numbers_and_debug_information(bench: Bench) -> None:
    sections = {}
    for words in ((), ("-lineinfo",), ("-G",)):
        bench.compile("-cubin", ARCH, *words, "math.cu", "-o", "x.cubin")
        sections[words] = bench.dump("x.cubin", "-elf")
    assert ".debug_line" not in sections[()]
    assert ".debug_line" in sections[("-lineinfo",)]
    assert ".debug_info" not in sections[("-lineinfo",)]
    assert ".debug_info" in sections[("-G",)]


def test_registers_are_limited(bench: Bench) -> None:
    used = {}
    for words in ((), ("-maxrregcount=24",)):
        done = bench.compile("-cubin", ARCH, "-Xptxas", "-v", *words, "math.cu")
        used[words] = max(int(number) for number in re.findall(r"Used (\d+) registers", done.error))
    assert used[("-maxrregcount=24",)] <= 24 < used[()]


HEADERS = [
    "cuda_bf16.h",
    "cuda_fp16.h",
    "cuda_fp8.h",
    "cuda_fp6.h",
    "cuda_fp4.h",
    "cooperative_groups.h",
    "mma.h",
    "cuda_pipeline.h",
    "cuda/std/atomic",
    "cuda/barrier",
    "cub/block/block_reduce.cuh",
    "thrust/device_vector.h",
]


def test_nvidias_headers_parse_on_both_sides(bench: Bench) -> None:
    text = "".join(f"#include <{header}>\n" for header in HEADERS)
    text += (
        "__global__ void k(float* x) { typedef cub::BlockReduce<float, 128> R; __shared__ typename R::TempStorage s;\n"
    )
    text += "  x[0] = R(s).Sum(x[threadIdx.x]) + float(__nv_fp8_e4m3(x[1])); }\n"
    text += "void run(float* x) { k<<<1, 128>>>(x); thrust::device_vector<float> v; }\n"
    (bench.root / "headers.cu").write_text(text)
    done = bench.compile(
        "-c",
        "headers.cu",
        "-std=c++17",
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_120,code=sm_120",
    )
    assert bench.images("headers.o") == ["sm_120.cubin", "sm_90a.cubin"]
    assert done.error == ""


def test_hosts_min_and_max_are_nvccs(bench: Bench) -> None:
    bench.compile("minmax.cu", ARCH, "-o", "minmax", "-Xlinker", f"-rpath,{bench.nvcc.parents[1]}/lib")
    assert subprocess.run([str(bench.root / "minmax")], check=False, timeout=60).returncode == 0


def test_lambdas_and_constexpr(bench: Bench) -> None:
    words = ("-c", "lambda.cu", ARCH, "-std=c++17", "--expt-extended-lambda")
    bench.compile(*words, "--expt-relaxed-constexpr")
    assert bench.images("lambda.o") == ["sm_90.cubin"]
    assert bench.run(*words).code == 1


def test_a_linked_program_starts_without_a_gpu(bench: Bench) -> None:
    """Registration of the fat binary runs before main and must not need a driver."""
    bench.compile("add.cu", ARCH, "-o", "add")
    libraries = {"LD_LIBRARY_PATH": str(bench.nvcc.parents[1] / "lib")}
    done = subprocess.run(
        [str(bench.root / "add")], env=libraries, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "12080\n"


def test_a_shared_library_loads(bench: Bench) -> None:
    bench.compile("-c", "add.cu", ARCH, "-Xcompiler", "-fPIC", "-O2")
    (bench.root / "more.cpp").write_text(
        '#include <cuda_runtime_api.h>\nextern "C" int one() { return CUDART_VERSION; }\n'
    )
    root = bench.nvcc.parents[1]
    bench.compile("-shared", "-Xcompiler", "-fPIC", "add.o", "more.cpp", "-o", "x.so", "-Xlinker", f"-rpath,{root}/lib")
    library = ctypes.CDLL(str(bench.root / "x.so"))
    assert library.runtime_version() == library.one() == 12080
    assert bench.images("x.so") == ["sm_90.cubin"]


def test_names_survive(bench: Bench) -> None:
    bench.compile("-cubin", ARCH, "names.cu")
    symbols = bench.dump("names.cubin", "-elf")
    for name in ("_ZN12_GLOBAL__N_16hiddenEPi", "_Z3sumILi3EEvPf", "_ZL7counter", "_ZL5table"):
        assert name in symbols, name


def test_it_preprocesses(bench: Bench) -> None:
    done = bench.compile("-E", "-DVALUE=42", "arch.cu")
    assert "__global__" in done.out or "__attribute__((global))" in done.out
    assert "add.rn.f32x2" not in done.out
    bench.compile("-E", "arch.cu", "-o", "arch.ii")
    assert Path(bench.root / "arch.ii").stat().st_size > 1000
