"""The system calls that Python 3.11's os module lacks. Standard library only: the container's first process uses it.

Source of the numbers: the kernel's include/uapi/linux/{mount,sched,prctl,capability}.h.
"""

import ctypes
import os
import platform
import struct
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1024, 4096, 16384, 1 << 18, 1 << 21
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 8, 24, 38
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: Path | str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Errors: OSError with the target as its file name."""
    words = (source, str(target), kind)
    pointers = [ctypes.c_char_p(word.encode() or None) for word in words]
    _checked(_libc.mount(*pointers, ctypes.c_ulong(flags), ctypes.c_char_p(data.encode() or None)), str(target))


def umount(target: Path | str, flags: int = 0) -> None:
    """umount2(2). Errors: OSError."""
    _checked(_libc.umount2(str(target).encode(), flags), str(target))


def unshare(flags: int) -> None:
    """unshare(2), for the calling thread. Errors: OSError."""
    _checked(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """setns(2), for the calling thread. Errors: OSError."""
    _checked(_libc.setns(descriptor, kind), "setns")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2). Errors: OSError."""
    _checked(_libc.syscall(_PIVOT_ROOT[platform.machine()], new.encode(), old.encode()), "pivot_root")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. Errors: OSError."""
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def limit_capabilities(keep: int) -> None:
    """Leaves the bits of `keep` in the bounding set and drops the rest for all that is executed from now on."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if not keep >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def set_capabilities(keep: int) -> None:
    """Effective, permitted and inheritable capabilities of this thread become `keep`, a bit mask. Errors: OSError."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = keep & 0xFFFFFFFF, keep >> 32
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    _checked(_libc.syscall(_CAPSET[platform.machine()], header, data), "capset")
