"""Command lines: every way to write an option, and the sentence for each that is wrong."""

from pathlib import Path

import pytest

from leviathan_nvcc import cmdline
from leviathan_nvcc.errors import NvccError
from leviathan_nvcc.option import Effect, Kind, Option
from leviathan_nvcc.options import OPTIONS

FORMS = [
    ("-c", [("compile", "")]),
    ("--compile", [("compile", "")]),
    ("-o out.o", [("output-file", "out.o")]),
    ("--output-file=out.o", [("output-file", "out.o")]),
    ("-gencode arch=compute_90,code=sm_90", [("generate-code", "arch=compute_90,code=sm_90")]),
    ("-gencode=arch=compute_90,code=sm_90", [("generate-code", "arch=compute_90,code=sm_90")]),
    ("--generate-code arch=compute_90,code=sm_90", [("generate-code", "arch=compute_90,code=sm_90")]),
    ("-arch=sm_90", [("gpu-architecture", "sm_90")]),
    ("-arch sm_90", [("gpu-architecture", "sm_90")]),
    ("-code=[sm_90,compute_90]", [("gpu-code", "sm_90"), ("gpu-code", "compute_90")]),
    ("-std=c++17", [("std", "c++17")]),
    ("--std c++17", [("std", "c++17")]),
    ("-O3", [("optimize", "3")]),
    ("-O 3", [("optimize", "3")]),
    ("-t4", [("threads", "4")]),
    ("--threads=0", [("threads", "0")]),
    ("-DA -DB=1", [("define-macro", "A"), ("define-macro", "B=1")]),
    ("-D C=x=y", [("define-macro", "C=x=y")]),
    ("-Iinclude -I other", [("include-path", "include"), ("include-path", "other")]),
    ("-isystem /usr/x", [("system-include", "/usr/x")]),
    ("-lcudart -L/lib", [("library", "cudart"), ("library-path", "/lib")]),
    ("-lineinfo", [("generate-line-info", "")]),
    ("-Xcompiler -fPIC", [("compiler-options", "-fPIC")]),
    ("-Xcompiler=-fPIC,-Wall", [("compiler-options", "-fPIC"), ("compiler-options", "-Wall")]),
    ("--compiler-options '-fPIC'", [("compiler-options", "-fPIC")]),
    ("-Xptxas -v,-O2", [("ptxas-options", "-v"), ("ptxas-options", "-O2")]),
    ("-rdc=true", [("relocatable-device-code", "true")]),
    ("--fmad false", [("fmad", "false")]),
    ("-use_fast_math", [("use_fast_math", "")]),
    ("--use_fast_math", [("use_fast_math", "")]),
    ("--expt-extended-lambda", [("extended-lambda", "")]),
    (
        "-MD -MF a.d -MT a.o",
        [("generate-dependencies-with-compile", ""), ("dependency-output", "a.d"), ("dependency-target-name", "a.o")],
    ),
    ("-maxrregcount=64", [("maxrregcount", "64")]),
    ("-x cu", [("x", "cu")]),
    ("--diag-suppress 177,20012", [("diag-suppress", "177"), ("diag-suppress", "20012")]),
]


@pytest.mark.parametrize(("text", "settings"), FORMS)
def test_each_form_of_an_option(text: str, settings: list[tuple[str, str]]) -> None:
    found = cmdline.parse([*text.split(), "a.cu"])
    assert list(found.settings) == settings
    assert found.inputs == ("a.cu",)


@pytest.mark.parametrize(
    "option", [one for one in OPTIONS if one.effect is not Effect.REFUSED], ids=lambda one: one.key
)
def test_every_name_in_the_table_parses(option: Option, tmp_path: Path) -> None:
    (tmp_path / "options").write_text("-g")
    for name in option.names:
        for dashes in ("-", "--"):
            value = {Kind.FLAG: "", Kind.BOOL: "=true"}.get(option.kind, "=7")
            if option.key == "options-file":
                assert cmdline.parse([f"{dashes}{name}={tmp_path / 'options'}"]).settings == (("debug", ""),)
            else:
                assert cmdline.parse([f"{dashes}{name}{value}"]).settings[0][0] == option.key


@pytest.mark.parametrize("option", [one for one in OPTIONS if one.effect is Effect.REFUSED], ids=lambda one: one.key)
def test_what_is_refused_says_why(option: Option) -> None:
    words = [f"-{option.names[-1]}", *([] if option.kind is Kind.FLAG else ["x"])]
    with pytest.raises(NvccError) as caught:
        cmdline.parse(words)
    assert caught.value.line() == f"nvcc fatal   : Option '{option.title}' is not supported: {option.note}"


def test_no_name_belongs_to_two_options() -> None:
    names = [name for option in OPTIONS for name in option.names]
    assert len(names) == len(set(names))
    assert all(option.note for option in OPTIONS)


def test_words_split_outside_quotes() -> None:
    assert cmdline.split_words("""-O2,'-DX=a b' -Wall,"-DY=c,d" """) == ("-O2", "-DX=a b", "-Wall", "-DY=c,d")
    with pytest.raises(NvccError, match="close the quotes"):
        cmdline.split_words("'-fPIC")


def test_options_files_nest_and_keep_their_place(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_text("-DB='two words' # a comment\n-DC\n")
    outer.write_text(f"-DA\n@{inner}\n-DD")
    found = cmdline.parse(["-O1", "--options-file", str(outer), "a.cu"])
    assert [value for _, value in found.settings] == ["1", "A", "B=two words", "C", "D"]
    assert cmdline.parse([f"-optf={outer}"]).settings == found.settings[1:]


def test_options_files_that_call_each_other_end(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.write_text(f"@{loop}")
    with pytest.raises(NvccError, match="call each other more than 16 deep; remove the loop"):
        cmdline.parse([f"@{loop}"])


def test_environment_goes_around_the_words() -> None:
    environment = {"NVCC_PREPEND_FLAGS": "-DA '-DB=1 2'", "NVCC_APPEND_FLAGS": "-w"}
    assert cmdline.with_environment(["-c"], environment) == ["-DA", "-DB=1 2", "-c", "-w"]
    assert cmdline.with_environment(["-c"], {}) == ["-c"]


def test_unknown_options_can_go_to_the_host_compiler() -> None:
    found = cmdline.parse(["-forward-unknown-to-host-compiler", "-fopenmp", "a.cu", "-Wextra"])
    assert (found.unknown, found.inputs) == (("-fopenmp", "-Wextra"), ("a.cu",))


ERRORS = [
    ("-foo", "Unknown option '-foo'; give an option of the host compiler as -Xcompiler OPTION"),
    ("--use-fast-math", "Unknown option '--use-fast-math'; did you mean '-use_fast_math'?"),
    ("-gencod=arch", "Unknown option '-gencod=arch'; did you mean '-gencode'?"),
    ("-O33", "Unknown option '-O33'"),
    ("-t4x", "Unknown option '-t4x'"),
    ("-fPIC", "Unknown option '-fPIC'"),
    ("-o", "Argument expected after '-o'"),
    ("--threads", "Argument expected after '--threads'"),
    ("-c=1", "Option '--compile (-c)' takes no value, got '-c=1'"),
    ("-fmad=maybe", "'maybe' is not a value of '--fmad': true or false"),
    ("@/does/not/exist", "Could not read options file '/does/not/exist': No such file or directory"),
]


@pytest.mark.parametrize(("word", "start"), ERRORS)
def test_a_wrong_word_is_named(word: str, start: str) -> None:
    with pytest.raises(NvccError) as caught:
        cmdline.parse([word])
    assert caught.value.line().startswith(f"nvcc fatal   : {start}")
    assert caught.value.code == 1
