"""Retargets PTX from the architecture that clang compiled for to the one that was asked for.

The head of a PTX module is ``.version``, ``.target``, ``.address_size`` (PTX ISA, "Directives: PTX Module
Directives"). A module for sm_90 is legal under every later target; the reverse is not, so a target is never lowered.
Code under ``#if __CUDA_ARCH__ >= 1000`` may use instructions of that target only, which is why cubins are assembled
from retargeted PTX too and not from sm_90's.
"""

from __future__ import annotations

import re

from leviathan_nvcc.archs import Arch
from leviathan_nvcc.errors import NvccError

_VERSION = re.compile(rb"^\.version (\d+)\.(\d+)$", re.MULTILINE)
_TARGET = re.compile(rb"^\.target sm_(\d+)a?\b(.*)$", re.MULTILINE)
_HEAD = 4096


def retarget(ptx: bytes, arch: Arch) -> bytes:
    """Sets ``.target`` to ``arch`` and raises ``.version`` where that target is newer.

    Arguments:
        ptx: a module as clang wrote it.
        arch: the virtual architecture.
    Errors:
        NvccError: no PTX head, or a module for a newer architecture than ``arch``.
    """
    head, body = ptx[:_HEAD], ptx[_HEAD:]
    version, target = _VERSION.search(head), _TARGET.search(head)
    if version is None or target is None:
        raise NvccError("clang wrote PTX without .version and .target lines: it is not the clang 19 this driver is for")
    if int(target[1]) > arch.number:
        raise NvccError(f"PTX for sm_{target[1].decode()} cannot become PTX for sm_{arch.suffix}")
    isa = max((int(version[1]), int(version[2])), arch.ptx_isa)
    head = _VERSION.sub(b".version %d.%d" % isa, head, count=1)
    head = _TARGET.sub(b".target " + arch.ptx_target.encode() + rb"\2", head, count=1)
    return head + body
