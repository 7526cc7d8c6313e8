"""Drops privileges of this process permanently: capabilities(7), user and group, no_new_privs.

Source of the numbers: linux/prctl.h and linux/capability.h. They apply to the calling thread and what it starts, so
this is called while there is only one thread, or by the thread that starts the others.
"""

import ctypes
import os
from collections.abc import Iterable

PR_SET_DUMPABLE, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 23, 24, 38
CAPABILITY_VERSION = 0x20080522
CAP_KILL = 5
#: The group of the front and the engine, which share a socket.
GROUP = 65532
# Capabilities are numbered from 0; no kernel has this many.
MOST_CAPABILITIES = 64


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def give_up(user: int | None = None, group: int | None = None, keep: Iterable[int] = ()) -> None:
    """Switches to `user` and `group`, if given, and keeps only the capabilities in `keep`, which needs uid 0.

    In a process that is not root, this only sets no_new_privs. Errors: OSError.
    """
    kept = set(keep)
    if os.geteuid() == 0:
        _drop_bounding(kept)
        if user is not None and group is not None:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
            _prctl(PR_SET_DUMPABLE, 1)  # otherwise its own /proc files would belong to root
            kept = set()
    _set_capabilities(kept)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _drop_bounding(keep: set[int]) -> None:
    """Removes capabilities from the bounding set, so that no program started from here can regain them."""
    for number in range(MOST_CAPABILITIES):
        try:
            there = _prctl(PR_CAPBSET_READ, number)
        except OSError:
            return  # the previous number was the kernel's last capability
        if there and number not in keep:
            _prctl(PR_CAPBSET_DROP, number)


def _set_capabilities(keep: set[int]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(CAPABILITY_VERSION, 0)
    mask = sum(1 << number for number in keep)
    words = (mask & 0xFFFFFFFF, mask >> 32)
    data = (_Data * 2)(*(_Data(word, word, 0) for word in words))
    if libc.capset(ctypes.byref(header), data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def _prctl(option: int, argument: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
    return result
