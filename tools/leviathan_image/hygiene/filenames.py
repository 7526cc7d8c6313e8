"""Rules about files by name: no compiler, no header or static library, no tests."""

import re
from collections.abc import Iterator

from leviathan_image.findings import Finding
from leviathan_image.hygiene.rules import Rule
from leviathan_image.tree import Entry, Kind

_PROGRAMS = (
    "gcc|g\\+\\+|cc|c\\+\\+|c89|c99|cpp|cc1|cc1plus|cc1obj|collect2|lto1|lto-wrapper|gfortran|f951|gnat1|gdc|gccgo"
    "|clang|clang\\+\\+|clang-cl|clang-cpp|clang-linker-wrapper|llc|lli|flang|tcc|icc|icx|icpx|ifx|pgcc|nvc|nvc\\+\\+"
    "|nvcc|cicc|cudafe\\+\\+|ptxas|fatbinary|nvlink|bin2c"
    "|as|gas|nasm|yasm|ld|ld\\.bfd|ld\\.gold|ld\\.lld|ld\\.mold|gold|lld|mold|dwp"
    "|rustc|go|ghc|javac|ocamlc|ocamlopt|zig|dmd|ldc2|fpc|swiftc|mypyc"
)
_PROGRAM = re.compile(rf"(?:[a-z0-9_]+-(?:linux|pc|unknown)-[a-z-]*gnu-)?(?:{_PROGRAMS})(?:-[0-9.]+)?")
_LIBRARY = re.compile(r"lib(?:clang|LLVM|gccjit|tcc|nvvm|nvrtc|nvJitLink|nvptxcompiler)(?:[-.](?!so).*?)?\.so(?:\..*)?")
_STATIC = frozenset({".a", ".la", ".o", ".lib"})
_HEADER = frozenset({".h", ".hh", ".hpp", ".hxx", ".h++", ".cuh", ".inl", ".ipp"})
_TEST_FOLDERS = frozenset({"test", "tests", "testdata", "test_data"})
_PACKAGES = re.compile(r"(?:^|/)(?:site-packages|dist-packages|python3\.\d+)/")


def check(entry: Entry) -> Iterator[Finding]:
    """Findings about one entry's name. A compiler is an executable or a link; a test folder counts once, below
    Python's own folders only, since elsewhere the word means other things.
    """
    where = f"/{entry.path}"
    name = where.rpartition("/")[2]
    suffix = name[name.rfind(".") :] if "." in name else ""
    if entry.kind is Kind.DIRECTORY:
        if name in _TEST_FOLDERS and _PACKAGES.search(where) and not _below_tests(where):
            yield Finding(Rule.TEST_DATA, where, "a package's tests", "drop the folder")
        return
    runs = entry.kind is Kind.SYMLINK or bool(entry.mode & 0o111)
    if (runs and _PROGRAM.fullmatch(name)) or _LIBRARY.fullmatch(name):
        yield Finding(Rule.COMPILER, where, "a compiler, assembler or linker", "drop it")
    if suffix in _STATIC:
        yield Finding(Rule.DEV_FILE, where, "a static library or object file", "drop it")
    if suffix in _HEADER:
        yield Finding(Rule.DEV_FILE, where, "a header", "drop it")


def _below_tests(where: str) -> bool:
    """Whether a folder above is a test folder already."""
    packages = _PACKAGES.search(where)
    start = packages.end() if packages else 0
    return any(part in _TEST_FOLDERS for part in where[start:].split("/")[:-1])
