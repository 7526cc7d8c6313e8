"""Runs a program in a user namespace of its own with a limit on further ones, as a host with that sysctl has it.

python user_namespace.py LIMIT PROGRAM ARGUMENT...
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # linux/sched.h


def main(limit: str, argv: list[str]) -> int:
    """The program's exit status. The parent writes the maps, so that setgroups stays allowed (user_namespaces(7))."""
    entered, entered_write = os.pipe()
    mapped, mapped_write = os.pipe()
    child = os.fork()
    if child == 0:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
            sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
        os.write(entered_write, b".")
        os.read(mapped, 1)
        Path("/proc/sys/user/max_user_namespaces").write_text(limit)
        os.execvp(argv[0], argv)
    os.close(entered_write)
    if os.read(entered, 1):
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{kind}").write_text("0 0 65536")
        os.write(mapped_write, b".")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


sys.exit(main(sys.argv[1], sys.argv[2:]))
