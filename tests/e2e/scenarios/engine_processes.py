"""The engine's processes that the node of this run has started, and no others of the machine."""

from collections.abc import Collection
from pathlib import Path

WORKER = b"leviathan_engine.worker"
LAUNCHER = b"e2e_cpu"  # as image.py has it
ALL = (
    b"e2e_cpu",
    b"leviathan_engine",
    b"leviathan_engine.front",
    WORKER,
)  # the first is the launcher, as image.py has it


def engine_processes(node: int, modules: Collection[bytes] = (WORKER,)) -> list[int]:
    """The ids of the Python processes below the process `node` that run one of `modules` (proc(5))."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        python = words[0].rpartition(b"/")[2].startswith(b"python3")
        if python and any(one in words for one in modules) and below(int(folder.name), node):
            found.append(int(folder.name))
    return found


def below(process: int, node: int) -> bool:
    """Whether `process` descends from `node`."""
    while process not in (0, 1, node):
        try:
            lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return False
        process = next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))
    return process == node
