"""`python -m e2e.kubelet.keeper FOLDER WORD…`: runs the scenarios in namespaces and cleans up after them.

It is a process of its own, in a session of its own, so that a run is cleaned up after whatever way it ended: the run's
starter holds the other end of this process's standard input, and when that is closed, by `outside.alone` or because
the starter was killed, the namespaces' first process is killed, and with it all that ran there.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from e2e.scenarios.errors import WayError, run

from . import cgroup, needs
from .inside import GROUP

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
NAMES = Path("/dev/disk")


def main(folder: Path, words: list[str]) -> int:
    """The exit status of the run; 1 when it was killed."""
    group = f"leviathan-e2e-{os.getpid()}"
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    environ = os.environ | {GROUP: group, "PATH": needs.path()}
    argv = ["setpriv", "--pdeathsig", "KILL", *needs.NAMESPACES, sys.executable, "-m", "e2e.scenarios", *words]
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=environ)

    def until_closed() -> None:
        while os.read(0, 4096):
            pass
        child.kill()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: child.kill())
    threading.Thread(target=until_closed, daemon=True).start()
    status = child.wait()
    reap()
    clean(folder, group)
    return status if status >= 0 else 1


def reap() -> None:
    """Wait for the namespace's first process, which ends after all others; ours where unshare was killed."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def clean(folder: Path, group: str) -> None:
    """Remove what outlives namespaces: control groups, loop devices over the folder's files, their names, the folder.

    What cannot be removed is said on standard error.
    """
    left = [str(one) for one in cgroup.remove(group)]
    for device in loops(folder):
        left += [] if release(device) else [device]
    shutil.rmtree(folder, ignore_errors=True)
    left += [str(folder)] if folder.exists() else []
    if left:
        sys.stderr.write(f"e2e: left behind: {', '.join(left)}; remove them by hand\n")


def loops(folder: Path) -> list[str]:
    """The loop devices over files in `folder`."""
    listed = run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]).splitlines()
    pairs = (line.split(maxsplit=1) for line in listed)
    return [pair[0] for pair in pairs if len(pair) == 2 and Path(pair[1]).is_relative_to(folder)]


def release(device: str, patience: float = 10.0) -> bool:
    """Remove a loop device's partitions, its and their lasting names and what it stands for; whether that was done."""
    until = time.monotonic() + patience
    for name in NAMES.glob("by-*/*"):
        if name.is_symlink() and re.fullmatch(rf"{device}(p\d+)?", str(name.readlink())):
            name.unlink()
    while time.monotonic() < until:
        with suppress(WayError):
            run(["partx", "--delete", device])
        with suppress(WayError):
            run(["losetup", "--detach", device])
        if not Path(f"/sys/block/{Path(device).name}/loop").exists():
            return True
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
