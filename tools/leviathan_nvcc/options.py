"""nvcc's options as one table: every name, what it takes, and why some are accepted without effect or refused.

Names and kinds follow NVIDIA's list for CUDA 12.8, with what later releases have added, since build files pass those
too. Like nvcc, an option may be written with one dash or two, and its value after ``=`` or as the next word.
"""

from __future__ import annotations

from itertools import chain

from leviathan_nvcc.option import Effect, Kind, Option


def _table(kind: Kind, effect: Effect, rows: str) -> tuple[Option, ...]:
    """Rows of ``names, separated by blanks | note``."""
    split = (row.split("|") for row in rows.strip().splitlines())
    return tuple(Option(tuple(names.split()), kind, effect, note.strip()) for names, note in split)


_NO_LINK = "needs nvlink, which NVIDIA publishes in no wheel; build whole-program device code (-rdc=false)"
_CLANG = "clang has it built in"
_TILE = "tile code came with CUDA 13.1"

_USED = (
    _table(
        Kind.FLAG,
        Effect.USED,
        """
        compile c | stop at the object file
        ptx | stop at the PTX of the one virtual architecture
        cubin | stop at the cubin of the one real architecture
        fatbin | stop at the fat binary of all architectures
        preprocess E | print the preprocessed host source
        link | compile and link (the default)
        shared | link a shared library
        generate-dependencies M | print a make rule with every header, the device passes' too
        generate-nonsystem-dependencies MM | the same without system headers
        generate-dependencies-with-compile MD | write the rule beside the output
        generate-nonsystem-dependencies-with-compile MMD | the same without system headers
        generate-dependency-targets MP | an empty rule for each header
        debug g | debug information for host code
        device-debug G | debug information for device code, without optimisation
        generate-line-info lineinfo | line numbers for device code
        use_fast_math | --ftz=true --prec-div=false --prec-sqrt=false --fmad=true and the fast functions
        expt-relaxed-constexpr | constexpr host functions in device code (clang always allows it; defines nvcc's macro)
        no-exceptions noeh | host code without exceptions
        disable-warnings w | no warnings
        resource-usage res-usage | print what ptxas -v says
        dryrun | print the commands and run none
        verbose v | print each command before it runs
        keep save-temps | keep PTX, cubins and the fat binary
        no-compress | the fat binary uncompressed
        forward-unknown-to-host-compiler | give unknown options to clang's host pass
        forward-unknown-to-host-linker | give unknown options to the link step
        forward-unknown-opts | give unknown options to both
        Wconversion | clang's flag of the same name
        Wno-deprecated-declarations | clang's flag of the same name
        Wreorder | clang's flag of the same name
        list-gpu-code code-ls | print the real architectures
        list-gpu-arch arch-ls | print the virtual architectures
        help h | print the options
        version V | print the version
    """,
    ),
    _table(
        Kind.VALUE,
        Effect.USED,
        """
        output-file o | the output
        output-directory odir | the folder of outputs without -o
        dependency-output MF | the file of the make rule
        gpu-architecture arch | sm_X, compute_X, all or all-major
        optimize O | optimisation of host code, 0 to 3
        dopt | optimisation of device code: on
        std | C++ dialect: c++14, c++17, c++20 ...
        x | language of the inputs: cu, c++ or c
        maxrregcount | most registers a thread
        threads t | compile architectures in parallel: how many at once, 0 for one a processor
        compiler-bindir ccbin | links, and compiles .c and .cpp; the host pass of .cu stays with clang
        cudart | none, shared or static
        default-stream | legacy, null or per-thread
        keep-dir | the folder of --keep
        compress-mode | default, size, speed, balance or none
        machine m | 64
        ftemplate-depth | depth of template instantiation
        ftemplate-backtrace-limit | most notes on an instantiation
        fmax-errors | most errors before clang stops
        leviathan-report | write registers, stack and spills of each kernel to this JSON file
    """,
    ),
    _table(
        Kind.BOOL,
        Effect.USED,
        """
        ftz | flush denormals to zero
        prec-div | IEEE division
        prec-sqrt | IEEE square root
        fmad | contract multiply and add
        relocatable-device-code rdc | only false
        static-global-template-stub | only false, which is the default of 12.8
        device-entity-has-hidden-visibility | only false, which is the default of 12.8
        device-stack-protector | only false
    """,
    ),
    _table(
        Kind.REPEAT,
        Effect.USED,
        """
        define-macro D | define a macro
        undefine-macro U | undefine a macro
        include-path I | folder of headers
        system-include isystem | folder of system headers
        pre-include include | header to include first
        library-path L | folder of libraries
        library l | library to link
        generate-code gencode | arch=compute_X,code=[sm_X,compute_X]
        dependency-target-name MT | target of the make rule
        dependency-quoted-target-name MQ | the same, quoted for make
        options-file optf | more options from these files
    """,
    ),
    _table(
        Kind.WORDS,
        Effect.USED,
        """
        gpu-code code | real or virtual architectures for -arch
        compiler-options Xcompiler | options of the host compiler; those that change the source reach device code too
        linker-options Xlinker | options of the linker
        ptxas-options Xptxas | options of ptxas
        Werror | kinds of warnings that are errors
        entries e | the kernels that ptxas makes code for
    """,
    ),
)

_IGNORED = (
    _table(
        Kind.FLAG,
        Effect.IGNORED,
        f"""
        extended-lambda expt-extended-lambda | {_CLANG}
        m64 | the only one there is
        restrict | clang honours __restrict__ where it is written
        extra-device-vectorization | {_CLANG}
        allow-unsupported-compiler | the host compiler is clang 19, which this toolkit is made for
        Wno-deprecated-gpu-targets | nothing warns of them here
        Wdefault-stream-launch | clang has no such warning
        Wmissing-launch-bounds | clang has no such warning
        Wext-lambda-captures-this | clang has no such warning
        display-error-number err-no | clang's diagnostics have names instead
        no-display-error-number no-err-no | clang's diagnostics have names instead
        no-host-device-initializer-list nohdinitlist | clang treats std::initializer_list as constexpr
        no-host-device-move-forward nohdmoveforward | clang treats std::move and std::forward as constexpr
        source-in-ptx src-in-ptx | only comments
        dont-use-profile noprof | there is no nvcc.profile
        no-align-double | only for 32-bit hosts
        keep-device-functions | unused device functions stay out of the cubin
        use-local-env | only on Windows
        force-cl-env-setup | only on Windows
        forward-slash-prefix-opts | only on Windows
        objdir-as-tempdir objtemp | intermediate files have a private folder, and their names are in no object
        no-device-link nodlink | no device code is linked
        skip-ptx-semantics-check | ptxas is not run over PTX of the user
        jobserver | parallelism comes from --threads
        utf-8 | clang reads UTF-8
        simt-only | there is no other kind of code here
    """,
    ),
    _table(
        Kind.WORDS,
        Effect.IGNORED,
        """
        Xcudafe | there is no cudafe++: clang is the front end
        Xcicc | there is no cicc: clang is the device compiler
        diag-suppress | numbers of another front end's diagnostics; use -Xcompiler -Wno-NAME
        diag-error | numbers of another front end's diagnostics; use -Xcompiler -Werror=NAME
        diag-warn | numbers of another front end's diagnostics
        nvlink-options Xnvlink | nothing is linked by nvlink
        archive-options Xarchive | no library is made
        fatbin-options Xfatbin | libnvfatbin packs; how much it compresses is --compress-mode
        nvprune-options Xnvprune | nothing is pruned
        tileiras-options Xtileiras | no tile code is made
        run-args | only with --run, which is not supported
    """,
    ),
    _table(
        Kind.VALUE,
        Effect.IGNORED,
        """
        split-compile | parallelism comes from --threads
        split-compile-extended | parallelism comes from --threads
        cudadevrt | only relocatable device code needs it
        jump-table-density jtd | clang decides
        archiver-binary arbin | no library is made
        Ofast-compile Ofc | device code is always optimised as with 0
        frandom-seed | the output is the same bytes on every run
        fdevice-time-trace | no trace is written; for clang's own: -Xcompiler -ftime-trace
        time | no file of times is written; --verbose shows the phases
        input-drive-prefix idp | only on Windows
        dependency-drive-prefix ddp | only on Windows
        drive-prefix dp | only on Windows
        optimization-info opt-info | use -Xcompiler -Rpass=NAME
    """,
    ),
    _table(
        Kind.BOOL,
        Effect.IGNORED,
        """
        brief-diagnostics brief-diag | clang's diagnostics have one form
    """,
    ),
)

_REFUSED = (
    _table(
        Kind.FLAG,
        Effect.REFUSED,
        f"""
        device-c dc | {_NO_LINK}
        device-w dw | {_NO_LINK}
        device-link dlink | {_NO_LINK}
        dlink-time-opt dlto | {_NO_LINK}
        ltoir | {_NO_LINK}
        extensible-whole-program ewp | {_NO_LINK}
        optix-ir | clang does not make it
        cuda | there is no .cu.cpp.ii file between clang's two passes
        lib | use ar on the objects
        run | run the program that the link wrote
        clean-targets clean | intermediate files are removed at once
        profile pg | use perf or Nsight
        gen-opt-lto | {_NO_LINK}
        relocatable-ptx reloc-ptx | {_NO_LINK}
        concat | {_NO_LINK}
        prune | {_NO_LINK}
        relocatable-link r | join the objects with ld -r
        augment-host-linker-script aug-hls | give the linker its script with -Xlinker -T
        compile-as-tools-patch astoolspatch | clang makes no code for tools
        fdevice-syntax-only | use -Xcompiler -fsyntax-only
        enable-tile | {_TILE}
        tile-only | {_TILE}
        tilefatbin | {_TILE}
        tilecubin | {_TILE}
        tilebc | {_TILE}
    """,
    ),
    _table(
        Kind.VALUE,
        Effect.REFUSED,
        """
        target-directory target-dir | this toolkit has one target, x86_64-linux
        libdevice-directory ldir | libdevice comes from the toolkit
        host-linker-script hls | give the linker its script with -Xlinker -T
        qpp-config | only on QNX
        fdevice-sanitize | clang has no sanitizer of device code; use compute-sanitizer
        apply-controls | ptxas 12.8 has no such option
    """,
    ),
)

OPTIONS: tuple[Option, ...] = tuple(chain(*_USED, *_IGNORED, *_REFUSED))
"""Every option that the driver knows."""

BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in option.names}
"""The same, by each of its names without dashes."""

ATTACHED: dict[str, str] = {
    "D": r"[A-Za-z_].*",
    "U": r"[A-Za-z_]\w*",
    "I": r".+",
    "L": r".+",
    "l": r"[^=]+",
    "O": r"\w",
    "t": r"\d+",
    "m": r"\d+",
}
"""One-letter options whose value may follow at once (``-I/usr/include``, ``-O3``), and what it must look like."""
