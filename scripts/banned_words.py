"""Prints each idiom that a reader has to read twice (docs/style.md), with its place and what to write instead.

Reads the documents, the code and the tests' Python below the current folder. Ends with 1 if there is one to print.
`--count` prints how many each file has, the excluded ones too, and ends with 0.
"""

import collections
import pathlib
import re
import sys

#: (pattern, what to write instead, a sentence that the pattern finds). A blank matches a line break of a comment too.
BANNED = (
    (r"beside", "next to, together with", "The socket is beside the port."),
    (r"anew", "again", "The count begins anew."),
    (r"for ever", "forever, without limit", "It waits for ever."),
    (r"(go|goes|going|went|gone) on(?! (the|a|this|each|which) \w+)", "resume, continue", "The push goes on."),
    (r"without a word", "silently, without a message", "The push ended without a word."),
    (r"by (itself|themselves)", "automatically; or name who does it", "The kubelet tries again by itself."),
    (r"(throw|throws|threw|thrown|throwing)( [\w-]+){0,3} out", "evict, remove", "The node has thrown the pod out."),
    (
        r"(?<!there\s)(is|are|was|were) no (?!(longer|more|less|fewer|larger|smaller|bigger|worse|better|later)\b)\w+",
        "is not a, are not",
        "A file that is no archive is an error.",
    ),
    (r"no more(?! (than|\w+s)\b)", "no longer; none left", "The address fits no more."),
    (r"whole numbers?", "integer", "'x' is not a whole number."),
    (r"in vain", "without a result", "It waited in vain."),
    (r"(hold|holds|held|holding) against", "compare with", "The answers are held against float64."),
    (r"(tell|tells|told|telling)( \w+)? apart", "distinguish", "The names tell them apart."),
    (r"(stand|stands|stood|standing) still", "stall, make no progress", "A client that stands still is closed."),
    (r"nothing but", "only", "It reads nothing but the header."),
    (r"once more", "again", "It asks once more."),
    (r"(of|from|up to|after|for) so many", "of N, a number of; name the number", "After so many looks it ends."),
    (r"lets? go of", "release", "The kernel lets go of the lock."),
    (r"lest|hence|thereby|thereof|therein|wherein|whence", "so, so that, there", "Hence it waits."),
    (r"thousand million", "billion", "Two thousand million layers."),
)
#: Paths that keep their idioms, and why.
EXCLUDED = (
    # What a build reads: a change would compile CUDA, Kubernetes or the byte code again, or make every layer again.
    "nix/ktransformers/",
    "nix/kubernetes/build.sh",
    "nix/python/bytecode.py",
    "tools/leviathan_image/jsonfile.py",
    "tools/leviathan_image/tree.py",
    "tools/leviathan_image/zstdpipe.py",
    "tools/leviathan_nvcc/",
    # Messages of these that a test expects.
    "tests/engine/test_recipe.py",
    "tests/leviathan_image/test_image_tree.py",
    "tests/leviathan_nvcc/test_nvcc_invocation.py",
)
#: The table of idioms in the style guide, this file and its test; recorded answers and reports.
EXEMPT = (
    *("docs/style.md", "scripts/banned_words.py", "tests/test_banned_words.py"),
    *("docs/evidence/bench.md", "docs/evidence/e2e", "nix/locks"),
)
SUFFIXES = {"", ".cpp", ".cu", ".css", ".h", ".html", ".js", ".md", ".nix", ".py", ".sh", ".toml", ".yaml"}
ROOTS = ("README.md", "CONTRIBUTING.md", "docs", "tools", "nix", "scripts", "manifests", "examples", "tests")


def compiled(pattern: str) -> re.Pattern[str]:
    """`pattern` between word boundaries, where a blank also matches a line break and the marks of a comment."""
    blank = r"[\s#:*/|]+"
    return re.compile(rf"\b(?:{pattern.replace(' ', blank)})\b")


def idioms(text: str) -> list[tuple[int, str, str]]:
    """Line number from 1, idiom, and what to write instead, for each idiom in `text`."""
    lower = text.lower()
    return [
        (lower.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), instead)
        for pattern, instead, _ in BANNED
        for match in compiled(pattern).finditer(lower)
    ]


def texts() -> list[pathlib.Path]:
    """Files to read, in order. Of tests only Python files: the rest is test data."""
    paths = [
        path for root in map(pathlib.Path, ROOTS) for path in (sorted(root.rglob("*")) if root.is_dir() else [root])
    ]
    return [
        path
        for path in paths
        if path.is_file()
        and path.suffix in (SUFFIXES if path.parts[0] != "tests" else {".py"})
        and "__pycache__" not in path.parts
        and not str(path).startswith(EXEMPT)
    ]


def main(arguments: list[str]) -> int:
    found = [(str(path), *idiom) for path in texts() for idiom in idioms(path.read_text(encoding="utf-8"))]
    if arguments == ["--count"]:
        counts = collections.Counter(path for path, *_ in found)
        for path, count in counts.items():
            sys.stdout.write(f"{count:4} {path}{' (excluded)' if path.startswith(EXCLUDED) else ''}\n")
        sys.stdout.write(f"{counts.total():4} in all\n")
        return 0
    wrong = [idiom for idiom in found if not idiom[0].startswith(EXCLUDED)]
    sys.stderr.writelines(f"{path}:{line}: {idiom!r}; fix: write {instead}\n" for path, line, idiom, instead in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
