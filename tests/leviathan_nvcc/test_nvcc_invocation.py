"""What command lines mean, and which contradictions are refused."""

import pytest

from leviathan_nvcc import cmdline, invocation
from leviathan_nvcc import resolve as meaning
from leviathan_nvcc.errors import NvccError
from leviathan_nvcc.invocation import Dependencies, Device, Invocation, Link, Mode, Source


def build(text: str, environment: dict[str, str] | None = None) -> Invocation:
    return meaning.build(cmdline.parse(text.split()), environment or {})


def test_torchs_own_command_line() -> None:
    """As torch.utils.cpp_extension writes it for KTransformers, with two prefix maps."""
    one = build(
        "--generate-dependencies-with-compile --dependency-output b/x.o.d -Itorch/include -I/usr/include/python3.11 "
        "-c x.cu -o b/x.o -D__CUDA_NO_HALF_OPERATORS__ -D__CUDA_NO_HALF_CONVERSIONS__ --expt-relaxed-constexpr "
        "--compiler-options '-fPIC' -O3 --use_fast_math -Xcompiler -fPIC -Xcompiler -ffile-prefix-map=/a=/src "
        "-DTORCH_EXTENSION_NAME=Ops -gencode=arch=compute_100,code=sm_100 -gencode=arch=compute_90a,code=sm_90a "
        "-ccbin gcc -std=c++17"
    )
    assert (one.mode, one.inputs, one.output) == (Mode.OBJECT, ("x.cu",), "b/x.o")
    assert [target.code for target in one.device.targets] == ["sm_90a", "sm_100"]
    assert one.device == Device(one.device.targets, fast_math=True, ftz=True, prec_div=False, prec_sqrt=False)
    assert one.source == Source(
        words=(
            "-Itorch/include",
            "-I/usr/include/python3.11",
            "-D__CUDA_NO_HALF_OPERATORS__",
            "-D__CUDA_NO_HALF_CONVERSIONS__",
            "-DTORCH_EXTENSION_NAME=Ops",
        ),
        std="c++17",
        host=("-fPIC", "-fPIC", "-ffile-prefix-map=/a=/src"),
        optimize="3",
        relaxed_constexpr=True,
    )
    assert one.dependencies == Dependencies(system=True, file="b/x.o.d")
    assert one.link == Link(compiler="gcc")
    assert one.threads is None


MODES = [
    ("", Mode.LINK),
    ("-c", Mode.OBJECT),
    ("-ptx -arch=sm_90", Mode.PTX),
    ("-cubin", Mode.CUBIN),
    ("-fatbin", Mode.FATBIN),
    ("-E", Mode.PREPROCESS),
    ("-M", Mode.DEPENDENCIES),
    ("-MM", Mode.DEPENDENCIES),
    ("-c -MD", Mode.OBJECT),
]


@pytest.mark.parametrize(("text", "mode"), MODES)
def test_where_it_stops(text: str, mode: Mode) -> None:
    assert build(f"{text} a.cu").mode is mode


MATH = [
    ("", (False, True, True, True)),
    ("--use_fast_math", (True, False, False, True)),
    ("--use_fast_math --prec-div=true", (True, True, False, True)),
    ("--ftz=false --use_fast_math", (False, False, False, True)),
    ("--fmad=false", (False, True, True, False)),
    ("-ftz true -prec-sqrt=false", (True, True, False, True)),
]


@pytest.mark.parametrize(("text", "switches"), MATH)
def test_floating_point_switches(text: str, switches: tuple[bool, ...]) -> None:
    one = build(text).device
    assert (one.ftz, one.prec_div, one.prec_sqrt, one.fmad) == switches


def test_targets_are_sorted_and_counted_once() -> None:
    text = (
        "-gencode=arch=compute_120,code=compute_120 -gencode=arch=compute_120,code=sm_120 "
        "-gencode=arch=compute_90a,code=sm_90a -gencode=arch=compute_120,code=sm_120"
    )
    one = build(text).device
    assert [target.code for target in one.targets] == ["sm_90a", "sm_120", "compute_120"]
    assert one.arch_list == "900,1200"


def test_words_keep_their_order() -> None:
    one = build("-DA -UA -I x -include y.h -isystem z -DA=2")
    assert one.source.words == ("-DA", "-UA", "-Ix", "-include", "y.h", "-isystem", "z", "-DA=2")
    assert build("-Xlinker -rpath,/x -lm -Ly").link.words == ("-Xlinker", "-rpath", "-Xlinker", "/x", "-lm", "-Ly")


def test_the_rest_lands_in_its_place() -> None:
    one = build(
        "-G -maxrregcount=64 -Xptxas -v -t 3 --keep --leviathan-report r.json -MMD -MT a$$b -MQ a$b -MP -w "
        "--default-stream=null -Werror all-warnings,reorder --compress-mode=size -noeh",
        {"LEVIATHAN_NVCC_REPORT_DIR": "reports"},
    )
    assert one.device.ptxas == ("-maxrregcount=64", "-v")
    assert (one.device.debug, one.device.compress, one.ptxas_info, one.threads) == (True, "size", True, 3)
    assert (one.keep, one.report, one.report_folder) == (".", "r.json", "reports")
    assert one.dependencies == Dependencies(False, None, ("a$$b", "a$$b"), True)
    assert (one.source.quiet, one.source.default_stream, one.source.exceptions) == (True, "legacy", False)
    assert one.source.werror == ("-Werror", "-Werror=reorder")


def test_unknown_options_are_the_host_compilers() -> None:
    assert build("-Xcompiler -O1 -forward-unknown-to-host-compiler -fopenmp").source.host == ("-O1", "-fopenmp")


OUTPUTS = [
    ("-c src/a.cu", "a.o"),
    ("-c a.cu -odir out", "out/a.o"),
    ("-ptx a.b.cu -arch=sm_90", "a.b.ptx"),
    ("-c a.cu -o x/y", "x/y"),
    ("a.cu", "a.out"),
    ("-cubin a.cu", "a.cubin"),
    ("-fatbin a.cu", "a.fatbin"),
]


@pytest.mark.parametrize(("text", "name"), OUTPUTS)
def test_names_of_outputs(text: str, name: str) -> None:
    one = build(text)
    assert invocation.output_of(one, one.inputs[0]) == name


def test_make_quoting() -> None:
    assert invocation.make_quote("a b$c#d") == "a\\ b$$c\\#d"


ERRORS = [
    (
        "-rdc=true",
        "Option '--relocatable-device-code (-rdc)' is only supported as false: linking device code needs nvlink",
    ),
    ("-c -ptx", "Options --compile and --ptx exclude each other: give one of them"),
    (
        "-ptx -gencode=arch=compute_90,code=sm_90 -gencode=arch=compute_100,code=sm_100",
        "Option '--ptx (-ptx)' makes one file of one architecture, but these are given: sm_90 sm_100",
    ),
    ("-cubin -arch=compute_90", "Option '--cubin (-cubin)' makes one file of one architecture"),
    ("-code=sm_90", "Option '--gpu-code (-code)' needs '--gpu-architecture (-arch)': add -arch=compute_120"),
    ("-std=c++99", "Value 'c++99' is not defined for option '--std': allowed are c++03, c++11"),
    ("-O9", "Value '9' is not defined for option '--optimize': allowed are 0, 1, 2, 3"),
    ("-t many", "Value 'many' is not defined for option '--threads': a whole number from 0 on"),
    ("-maxrregcount=-1", "Value '-1' is not defined for option '--maxrregcount': a whole number from 0 on"),
    ("-cudart=dynamic", "Value 'dynamic' is not defined for option '--cudart': allowed are none, shared, static"),
    ("-Werror everything", "Value 'everything' is not defined for option '--Werror': allowed are all-warnings"),
    ("-MF x.d", "Option '--dependency-output (-MF)' needs -M, -MM, -MD or -MMD"),
    ("-m32", "Value '32' is not defined for option '--machine': allowed are 64"),
]


@pytest.mark.parametrize(("text", "start"), ERRORS)
def test_a_contradiction_is_named(text: str, start: str) -> None:
    with pytest.raises(NvccError) as caught:
        build(f"{text} a.cu")
    assert caught.value.message.startswith(start)
    assert "\n" not in caught.value.message
