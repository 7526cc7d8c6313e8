"""Runs a command where everything but one folder is read-only: `python3 read_only.py FOLDER COMMAND...`.

As a pod with readOnlyRootFilesystem and one volume has it, and stricter: /tmp and /dev/shm are read-only too. It is
done in a mount namespace of its own, by mount_setattr(2) of Linux 5.12, and takes CAP_SYS_ADMIN.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1


class Attributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def only_writable(folder: Path) -> None:
    """Makes `folder` the one place that this process and its children can write to. Errors: OSError."""
    libc = ctypes.CDLL(None, use_errno=True)

    def done(code: int, what: str) -> None:
        if code:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    def set_all(path: Path, flags: int, **attributes: int) -> None:
        given = Attributes(**attributes)
        size = ctypes.sizeof(given)
        done(libc.syscall(MOUNT_SETATTR, AT_FDCWD, bytes(path), flags, ctypes.byref(given), size), f"setattr {path}")

    done(libc.unshare(CLONE_NEWNS), "unshare")
    done(libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "private mounts")
    done(libc.mount(bytes(folder), bytes(folder), None, ctypes.c_ulong(MS_BIND), None), f"bind {folder}")
    set_all(Path("/"), AT_RECURSIVE, attr_set=MOUNT_ATTR_RDONLY)
    set_all(folder, 0, attr_clr=MOUNT_ATTR_RDONLY)


if __name__ == "__main__":
    only_writable(Path(sys.argv[1]).resolve())
    os.execvp(sys.argv[2], sys.argv[2:])
