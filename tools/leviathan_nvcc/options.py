"""nvcc's options as one table: every name, what it takes, and why some are accepted without effect or refused.

Names and kinds follow ``nvcc --help`` of CUDA 12.8. Like nvcc, an option may be written with one dash or two, and its
value after ``=`` or as the next word.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import chain


class Kind(Enum):
    """How an option takes its value."""

    FLAG = "no value"
    VALUE = "one value, the last one counts"
    BOOL = "true or false"
    REPEAT = "a value each time, taken as it is"
    WORDS = "a list of words, separated by commas or blanks outside quotes"


class Effect(Enum):
    """What becomes of an option."""

    USED = "used"
    IGNORED = "accepted, without effect"
    REFUSED = "not supported"


@dataclass(frozen=True)
class Option:
    """One option.

    Arguments:
        names: all its names without dashes, the long one first.
        kind: how it takes its value.
        effect: whether it is used.
        note: for IGNORED and REFUSED the reason, else what it does.
    """

    names: tuple[str, ...]
    kind: Kind
    effect: Effect
    note: str

    @property
    def key(self) -> str:
        """The name that settings carry."""
        return self.names[0]

    @property
    def title(self) -> str:
        """Both names as nvcc prints them: ``--gpu-code (-code)``."""
        short = self.names[-1]
        return f"--{self.key} (-{short})" if short != self.key else f"--{self.key}"


def _table(kind: Kind, effect: Effect, rows: str) -> tuple[Option, ...]:
    """Rows of ``names, separated by blanks | note``."""
    split = (row.split("|") for row in rows.strip().splitlines())
    return tuple(Option(tuple(names.split()), kind, effect, note.strip()) for names, note in split)


_NO_LINK = "needs nvlink, which NVIDIA publishes in no wheel; build whole-program device code (-rdc=false)"
_CLANG = "clang has it built in"

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
        display-error-number | clang's diagnostics have names instead
        no-display-error-number | clang's diagnostics have names instead
        no-host-device-initializer-list | clang treats std::initializer_list as constexpr
        no-host-device-move-forward | clang treats std::move and std::forward as constexpr
        source-in-ptx src-in-ptx | only comments
        dont-use-profile noprof | there is no nvcc.profile
        no-align-double | only for 32-bit hosts
        keep-device-functions | unused device functions stay out of the cubin
        use-local-env | only on Windows
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
    """,
    ),
    _table(
        Kind.VALUE,
        Effect.IGNORED,
        """
        split-compile | parallelism comes from --threads
        split-compile-extended | parallelism comes from --threads
        cudadevrt | only relocatable device code needs it
        jump-table-density | clang decides
        optimization-info opt-info | use -Xcompiler -Rpass=NAME
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
    """,
    ),
    _table(
        Kind.VALUE,
        Effect.REFUSED,
        """
        target-directory target-dir | this toolkit has one target, x86_64-linux
        libdevice-directory ldir | libdevice comes from the toolkit
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
