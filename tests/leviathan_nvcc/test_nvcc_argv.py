"""Arguments of clang, ptxas and the linker, as whole lists."""

from pathlib import Path

import pytest

from leviathan_nvcc import cmdline, device, host
from leviathan_nvcc import resolve as meaning
from leviathan_nvcc.archs import parse_arch
from leviathan_nvcc.errors import NvccError
from leviathan_nvcc.invocation import Invocation, Link
from leviathan_nvcc.toolchain import Toolchain

ALL = "-gencode=arch=compute_90a,code=sm_90a -gencode=arch=compute_120,code=sm_120"
COMMON = [
    "--cuda-path=/cuda",
    "-Wno-unknown-cuda-version",
    "-Wno-unused-command-line-argument",
    "-fdebug-compilation-dir=.",
    "-include",
    "/headers/leviathan_nvcc.h",
    "-idirafter",
    "/headers/fallback",
    "-D__CUDACC_VER_MAJOR__=12",
    "-D__CUDACC_VER_MINOR__=8",
    "-D__CUDACC_VER_BUILD__=93",
    "-D__CUDA_ARCH_LIST__=900,1200",
]


def build(text: str) -> Invocation:
    return meaning.build(cmdline.parse(f"{ALL} {text}".split()), {})


def test_frontend(tools: Toolchain) -> None:
    one = build("-DA=1 -Iinc -std=c++17 -O2 -Xcompiler -fPIC,-Wno-x,-march=x86-64-v3 -MD -c")
    words = device.dependency_words(one.dependencies, "120.d")
    assert device.frontend(tools, one.source, one.device, parse_arch("120"), "a.cu", "120.ll", words) == [
        "clang++-19",
        "-x",
        "cuda",
        "--cuda-device-only",
        "--cuda-gpu-arch=sm_90",
        "-O3",
        "-fno-strict-aliasing",
        "-U__CUDA_ARCH__",
        "-D__CUDA_ARCH__=1200",
        *COMMON,
        "-std=c++17",
        "-DA=1",
        "-Iinc",
        "-Wno-x",
        "-march=x86-64-v3",
        "-S",
        "-emit-llvm",
        "-Xclang",
        "-disable-llvm-passes",
        "-MD",
        "-MF",
        "120.d",
        "-MT",
        "x",
        "a.cu",
        "-o",
        "120.ll",
    ]


def test_frontend_with_every_switch(tools: Toolchain) -> None:
    one = build("--use_fast_math --fmad=false -lineinfo -w --expt-relaxed-constexpr --default-stream per-thread")
    assert device.preprocess(tools, one.source, one.device, parse_arch("90a"), "a.cu", "90a.ii") == [
        "clang++-19",
        "-x",
        "cuda",
        "--cuda-device-only",
        "--cuda-gpu-arch=sm_90",
        "-O3",
        "-fno-strict-aliasing",
        "-gline-tables-only",
        "-U__CUDA_ARCH__",
        "-D__CUDA_ARCH__=900",
        "-D__CUDA_ARCH_FEAT_SM90_ALL=1",
        *COMMON,
        "-D__CUDACC_RELAXED_CONSTEXPR__",
        "-D__USE_FAST_MATH__",
        "-DCUDA_API_PER_THREAD_DEFAULT_STREAM=1",
        "-w",
        "-fgpu-flush-denormals-to-zero",
        "-fgpu-approx-transcendentals",
        "-ffp-contract=off",
        "-E",
        "a.cu",
        "-o",
        "90a.ii",
    ]


def test_device_debug_turns_optimisation_off(tools: Toolchain) -> None:
    one = build("-G")
    argv = device.frontend(tools, one.source, one.device, parse_arch("90a"), "a.cu", "x.ll", [])
    assert argv[5:8] == ["-O0", "-g", "--cuda-noopt-device-debug"]
    argv = device.backend(tools, one.device, parse_arch("90a"), "x.ll", "x.ptx")
    assert "-O0" in argv
    assert not [word for word in argv if "inline-threshold" in word]
    assert device.ptxas(tools, one.device, one.device.targets[0], "x.ptx", "x.cubin") == [
        "/cuda/bin/ptxas",
        "-m64",
        "-v",
        "-arch=sm_90a",
        "-g",
        "x.ptx",
        "-o",
        "x.cubin",
    ]


BACKEND = [
    ("", "2", "2", "1"),
    ("--use_fast_math", "2", "0", "0"),
    ("--prec-div=false", "2", "1", "1"),
    ("--fmad=false --prec-sqrt=false", "0", "2", "0"),
]


@pytest.mark.parametrize(("text", "fma", "division", "root"), BACKEND)
def test_backend(tools: Toolchain, text: str, fma: str, division: str, root: str) -> None:
    one = build(text)
    assert device.backend(tools, one.device, parse_arch("120"), "x.ll", "x.ptx") == [
        "clang++-19",
        "-x",
        "ir",
        "--target=nvptx64-nvidia-cuda",
        "-march=sm_90",
        "-S",
        "-O3",
        "-Xclang",
        "-target-feature",
        "-Xclang",
        "+ptx85",
        "-Wno-pass-failed",
        "-mllvm",
        "-enable-memcpyopt-without-libcalls",
        "-mllvm",
        f"-nvptx-fma-level={fma}",
        "-mllvm",
        f"-nvptx-prec-divf32={division}",
        "-mllvm",
        f"-nvptx-prec-sqrtf32={root}",
        "-mllvm",
        "-inline-threshold=100000",
        "-mllvm",
        "-sink-common-insts=false",
        "x.ll",
        "-o",
        "x.ptx",
    ]


PTXAS = [
    ("", ["-O3"]),
    ("-Xptxas -O1,-v", ["-O1"]),
    ("-lineinfo -maxrregcount=64", ["-O3", "-lineinfo", "-maxrregcount=64"]),
    ("--fmad=false -Xptxas --warn-on-spills", ["-O3", "-fmad=false", "--warn-on-spills"]),
]


@pytest.mark.parametrize(("text", "words"), PTXAS)
def test_ptxas(tools: Toolchain, text: str, words: list[str]) -> None:
    one = build(text)
    argv = device.ptxas(tools, one.device, one.device.targets[1], "x.ptx", "x.cubin")
    assert argv == ["/cuda/bin/ptxas", "-m64", "-v", "-arch=sm_120", *words, "x.ptx", "-o", "x.cubin"]


def test_host_words_that_reach_device_code() -> None:
    words = ("-fPIC", "-D", "A", "-DB", "-isystem", "/x", "-O2", "-Wall", "-Wno-y", "-ffile-prefix-map=/a=/b", "-mavx2")
    assert device.shared_host_words(words) == ("-D", "A", "-DB", "-isystem", "/x", "-Wno-y", "-ffile-prefix-map=/a=/b")


def test_host_pass(tools: Toolchain) -> None:
    one = build("-O3 -g -noeh -Xcompiler -fPIC,-Wall -default-stream per-thread -Werror all-warnings -MMD")
    words = device.dependency_words(one.dependencies, "h.d")
    assert host.compile_cuda(tools, one.source, one.device, "a.cu", "x.fatbin", "h.o", words) == [
        "clang++-19",
        "-x",
        "cuda",
        "--cuda-host-only",
        "-Xclang",
        "-fcuda-include-gpubinary",
        "-Xclang",
        "x.fatbin",
        "-c",
        *COMMON,
        "-DCUDA_API_PER_THREAD_DEFAULT_STREAM=1",
        "-Werror",
        "-O3",
        "-g",
        "-fno-exceptions",
        "-fgpu-default-stream=per-thread",
        "-fPIC",
        "-Wall",
        "-MMD",
        "-MF",
        "h.d",
        "-MT",
        "x",
        "a.cu",
        "-o",
        "h.o",
    ]


def test_plain_sources_go_to_ccbin(tools: Toolchain) -> None:
    one = build("-c -ccbin g++-12 -O2 -DA -std=c++20 -Xcompiler -fPIC -w")
    assert host.compile_plain(tools, one, "c++", "a.cpp", "a.o", []) == [
        "g++-12",
        "-x",
        "c++",
        "-c",
        "-std=c++20",
        "-DA",
        "-isystem",
        "/cuda/include",
        "-w",
        "-O2",
        "-fPIC",
        "a.cpp",
        "-o",
        "a.o",
    ]


def test_preprocess(tools: Toolchain) -> None:
    one = build("-E -DA")
    argv = ["clang++-19", "-x", "cuda", "--cuda-host-only", "-E", *COMMON, "-DA", "a.cu"]
    assert host.preprocess(tools, one.source, one.device, "a.cu", None) == argv
    assert host.preprocess(tools, one.source, one.device, "a.cu", "a.ii") == [*argv, "-o", "a.ii"]


def test_every_pass_is_scanned_for_headers(tools: Toolchain) -> None:
    one = build("-MM -DA -Xcompiler -DB,-Wall")
    assert host.scans(tools, one, "a.cu", "cu") == [
        ["clang++-19", "-x", "cuda", "--cuda-host-only", "-MM", *COMMON, "-DA", "-DB", "a.cu"],
        [
            "clang++-19",
            "-x",
            "cuda",
            "--cuda-device-only",
            "--cuda-gpu-arch=sm_90",
            "-MM",
            "-U__CUDA_ARCH__",
            "-D__CUDA_ARCH__=900",
            "-D__CUDA_ARCH_FEAT_SM90_ALL=1",
            *COMMON,
            "-DA",
            "-DB",
            "a.cu",
        ],
        [
            "clang++-19",
            "-x",
            "cuda",
            "--cuda-device-only",
            "--cuda-gpu-arch=sm_90",
            "-MM",
            "-U__CUDA_ARCH__",
            "-D__CUDA_ARCH__=1200",
            *COMMON,
            "-DA",
            "-DB",
            "a.cu",
        ],
    ]
    assert host.scans(tools, one, "a.c", "c") == [["clang++-19", "-x", "c", "-MM", "-DA", "-DB", "-Wall", "a.c"]]


def test_link(tools: Toolchain) -> None:
    one = build("-shared -g -Xcompiler -fPIC -Lx -lm -Xlinker -rpath,/r")
    assert host.link(tools, one, ["a.o", "b.a"], "out") == [
        "clang++-19",
        "-shared",
        "-g",
        "-fPIC",
        "a.o",
        "b.a",
        "-Lx",
        "-lm",
        "-Xlinker",
        "-rpath",
        "-Xlinker",
        "/r",
        "-L/cuda/lib",
        "-lcudart",
        "-o",
        "out",
    ]
    assert host.link(tools, build("-ccbin g++ -cudart none"), ["a.o"], "out") == ["g++", "a.o", "-o", "out"]


def test_static_runtime_only_where_there_is_one(toolkit: Path) -> None:
    tools = Toolchain(toolkit, "clang++-19", Path("/headers"))
    assert host.cudart(tools, Link()) == [f"-L{toolkit}/lib", "-lcudart"]
    with pytest.raises(NvccError, match=r"NVIDIA's wheels hold none; use -cudart shared"):
        host.cudart(tools, Link(cudart="static"))
    (toolkit / "lib" / "libcudart_static.a").touch()
    assert host.cudart(tools, Link())[1:] == ["-lcudart_static", "-lrt", "-lpthread", "-ldl"]
    assert host.cudart(tools, Link(cudart="shared"))[1:] == ["-lcudart"]
