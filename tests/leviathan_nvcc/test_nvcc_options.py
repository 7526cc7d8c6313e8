"""The option table against NVIDIA's own list of nvcc's options, name by name."""

import pytest

from leviathan_nvcc import cmdline, resolve
from leviathan_nvcc.cmdline import CommandLine
from leviathan_nvcc.errors import NvccError
from leviathan_nvcc.invocation import Invocation
from leviathan_nvcc.option import Effect
from leviathan_nvcc.options import BY_NAME
from leviathan_nvcc.resolve import CMAKE_ID

#: Long and short names, in the order of "NVCC Command Options" of NVIDIA's documentation.
NVIDIA = """
output-file o, objdir-as-tempdir objtemp, pre-include include, library l, define-macro D, undefine-macro U,
include-path I, system-include isystem, library-path L, output-directory odir, dependency-output MF,
generate-dependency-targets MP, compiler-bindir ccbin, allow-unsupported-compiler, archiver-binary arbin, cudart,
cudadevrt, libdevice-directory ldir, target-directory target-dir, apply-controls, link, lib, device-link dlink,
device-c dc, device-w dw, cuda, compile c, fatbin, cubin, ptx, tilefatbin, tilecubin, tilebc, preprocess E,
generate-dependencies M, generate-nonsystem-dependencies MM, generate-dependencies-with-compile MD,
generate-nonsystem-dependencies-with-compile MMD, optix-ir, ltoir, run, enable-tile, tile-only, simt-only, profile
pg, debug g, device-debug G, extensible-whole-program ewp, no-compress, compress-mode, concat, relocatable-ptx
reloc-ptx, generate-line-info lineinfo, optimization-info opt-info, optimize O, Ofast-compile Ofc, dopt,
dlink-time-opt dlto, gen-opt-lto, split-compile, split-compile-extended, jobserver, skip-ptx-semantics-check,
ftemplate-backtrace-limit, ftemplate-depth, no-exceptions noeh, shared, x, std, no-host-device-initializer-list
nohdinitlist, no-host-device-move-forward nohdmoveforward, expt-relaxed-constexpr, extended-lambda,
expt-extended-lambda, machine m, m64, host-linker-script hls, augment-host-linker-script aug-hls, relocatable-link
r, frandom-seed, compiler-options Xcompiler, linker-options Xlinker, archive-options Xarchive, ptxas-options
Xptxas, nvlink-options Xnvlink, nvprune-options Xnvprune, fatbin-options Xfatbin, tileiras-options Xtileiras,
static-global-template-stub, device-entity-has-hidden-visibility, forward-unknown-to-host-compiler,
forward-unknown-to-host-linker, forward-unknown-opts, forward-slash-prefix-opts, dont-use-profile noprof, threads
t, dryrun, verbose v, keep, keep-dir, save-temps, clean-targets clean, run-args, use-local-env, force-cl-env-setup,
input-drive-prefix idp, dependency-drive-prefix ddp, drive-prefix dp, dependency-target-name MT, no-align-double,
no-device-link nodlink, prune, default-stream, gpu-architecture arch, gpu-code code, generate-code gencode,
relocatable-device-code rdc, entries e, maxrregcount, use_fast_math, ftz, prec-div, prec-sqrt, fmad,
extra-device-vectorization, compile-as-tools-patch astoolspatch, keep-device-functions, jump-table-density jtd,
disable-warnings w, source-in-ptx src-in-ptx, restrict, Wno-deprecated-gpu-targets, Wno-deprecated-declarations,
Wreorder, fmax-errors, Wdefault-stream-launch, Wmissing-launch-bounds, Wext-lambda-captures-this, Wconversion,
Werror, display-error-number err-no, no-display-error-number no-err-no, diag-error, diag-suppress, diag-warn,
resource-usage res-usage, device-stack-protector, utf-8, help h, version V, options-file optf, time, qpp-config,
list-gpu-code code-ls, list-gpu-arch arch-ls, fdevice-time-trace, fdevice-sanitize, brief-diagnostics brief-diag
"""
NAMES = [tuple(entry.split()) for entry in NVIDIA.split(",")]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: str(names[0]))
def test_every_option_of_nvidias_list_is_known(names: tuple[str, ...]) -> None:
    options = {BY_NAME[name].key for name in names}
    assert len(options) == 1
    assert all(BY_NAME[name].note for name in names)


def built(text: str) -> Invocation:
    """What a command line means."""
    return resolve.build(cmdline.parse([*text.split(), "-c", "a.cu"]), {})


@pytest.mark.parametrize(
    "text",
    [
        "-Xfatbin -compress-all",
        "-Xfatbin=-compress-all",
        "-static-global-template-stub=false",
        "--device-entity-has-hidden-visibility=false",
        "-time times.csv",
        "--brief-diagnostics=true",
        "-frandom-seed 7",
        "-objtemp -nodlink --utf-8",
    ],
)
def test_what_other_builds_pass_changes_nothing_else(text: str) -> None:
    assert built(text) == built("")


@pytest.mark.parametrize("key", ["static-global-template-stub", "device-entity-has-hidden-visibility"])
def test_true_is_refused_where_clang_has_no_such_thing(key: str) -> None:
    with pytest.raises(NvccError, match=f"--{key}' is only supported as false"):
        built(f"--{key}=true")


def test_limits_of_clang_and_kernels_of_ptxas() -> None:
    one = built("-ftemplate-depth 2000 --fmax-errors=5 -ftemplate-backtrace-limit=3 -e kernel_a -Wconversion")
    assert one.source.host == (
        "-Wconversion",
        "-ftemplate-depth=2000",
        "-ftemplate-backtrace-limit=3",
        "-ferror-limit=5",
    )
    assert one.device.ptxas == ("--entry=kernel_a",)


@pytest.mark.parametrize(
    ("flag", "host", "link"),
    [
        ("-forward-unknown-to-host-compiler", ("-fnew",), ()),
        ("-forward-unknown-to-host-linker", (), ("-fnew",)),
        ("-forward-unknown-opts", ("-fnew",), ("-fnew",)),
    ],
)
def test_unknown_options_go_where_they_are_sent(flag: str, host: tuple[str, ...], link: tuple[str, ...]) -> None:
    one = built(f"{flag} -fnew")
    assert (one.source.host, one.link.words) == (host, link)


def test_only_cmakes_question_sees_nvccs_own_macro() -> None:
    """Headers that see __NVCC__ take the compiler for EDG."""
    for name, asked in ((CMAKE_ID, True), (f"/tmp/x/{CMAKE_ID}", True), ("main.cu", False)):
        one = resolve.build(CommandLine((), (name,), ()), {})
        assert ("-D__NVCC__" in one.source.words) == asked


def test_nothing_is_both_used_and_refused() -> None:
    assert {BY_NAME["rdc"].effect, BY_NAME["dc"].effect} == {Effect.USED, Effect.REFUSED}
