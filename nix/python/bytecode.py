"""Compiles every Python file of $sources to byte code in $out, at the places where Python looks for it.

The byte code is bound to its source by nothing but its place ("unchecked-hash", PEP 552): no time stamp in it, and a
start reads no source. marshal writes an object as shared when the compiling process holds it twice, so a file's byte
code depends on what its process compiled before: each group of files has a process of its own, whatever the cores.
"""

import os
import py_compile
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GROUP = 100  # files of one process

# What Python starts from: the standard library and what is on its path below it. (Fragments of source elsewhere,
# such as templates, are imported by nobody.)
ROOTS = ("usr/lib/python3.11", "usr/lib/python3/dist-packages", "usr/local/lib/python3.11/dist-packages")


def sources(trees: list[Path]) -> list[tuple[str, str]]:
    """(file, its path in the image), sorted by the latter; where two trees hold a file the first wins.

    Links are left out: what an absolute one points to lies in another tree.
    """
    found: dict[str, str] = {}
    for tree in trees:
        for root in ROOTS:
            for path in (tree / root).rglob("*.py"):
                if path.is_file() and not path.is_symlink():
                    found.setdefault(str(path.relative_to(tree)), str(path))
    return [(found[place], place) for place in sorted(found)]


def compile_group(files: list[str], out: Path) -> None:
    """Compile files, given in turn as file and place; what is no Python 3.11 (test data, templates) stays source."""
    for path, place in zip(files[::2], files[1::2], strict=True):
        target = out / Path(place).parent / "__pycache__" / f"{Path(place).stem}.cpython-311.pyc"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            py_compile.compile(
                path,
                str(target),
                dfile=f"/{place}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError as error:
            sys.stderr.write(f"left as source: /{place}: {error.exc_type_name}\n")


def main() -> None:
    out = Path(os.environ["out"])
    if sys.argv[1:]:
        compile_group(sys.stdin.read().splitlines(), out)
        return
    out.mkdir()
    files = sources([Path(tree) for tree in os.environ["sources"].split()])
    groups = [files[start : start + GROUP] for start in range(0, len(files), GROUP)]

    def run(group: list[tuple[str, str]]) -> None:
        names = "\n".join(name for pair in group for name in pair)
        subprocess.run([sys.executable, "-W", "ignore", __file__, "group"], input=names, text=True, check=True)

    with ThreadPoolExecutor(max_workers=int(os.environ["NIX_BUILD_CORES"]) or os.cpu_count()) as pool:
        list(pool.map(run, groups))


main()
