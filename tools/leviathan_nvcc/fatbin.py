"""Fat binaries through NVIDIA's libnvfatbin (nvFatbin.h of nvidia-nvfatbin-cu12 12.8.90)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from leviathan_nvcc.errors import NvccError


@dataclass(frozen=True)
class Entry:
    """One image of the fat binary.

    Arguments:
        arch: what libnvfatbin checks the image against: ``90a`` of ``sm_90a``.
        ptx: whether the image is PTX text and not a cubin.
        data: the image.
    """

    arch: str
    ptx: bool
    data: bytes


def options(compress: str) -> list[str]:
    """Options of nvFatbinCreate: 64-bit entries for a Linux host, compressed as ``--compress-mode`` says."""
    compressed = ["-compress=true", f"-compress-mode={compress}"] if compress != "none" else ["-compress=false"]
    return ["-64", "-cuda", "-host=linux", *compressed]


class Library:
    """libnvfatbin, loaded once.

    Errors:
        NvccError: the library is not there or is not libnvfatbin.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path))
            self._library.nvFatbinGetErrorString.restype = ctypes.c_char_p
        except (OSError, AttributeError) as error:
            raise NvccError(f"Could not load {path}: {error}; lay the toolkit out again") from None

    def pack(self, entries: Sequence[Entry], identifier: str, compress: str = "default") -> bytes:
        """Packs images in the given order.

        Arguments:
            identifier: the name that cuobjdump shows for each entry; it is stored, so it must not be a path.
        Errors:
            NvccError: libnvfatbin refused an entry.
        """
        with self._handle(options(compress)) as handle:
            for entry in entries:
                name = identifier.encode()
                # PTX must count its final NUL; the library makes a copy to add one otherwise.
                data = entry.data + b"\0" if entry.ptx else entry.data
                size, arch = ctypes.c_size_t(len(data)), entry.arch.encode()
                what = f"{'compute' if entry.ptx else 'sm'}_{entry.arch}"
                if entry.ptx:
                    self._check(self._library.nvFatbinAddPTX(handle, data, size, arch, name, b""), what)
                else:
                    self._check(self._library.nvFatbinAddCubin(handle, data, size, arch, name), what)
            total = ctypes.c_size_t()
            self._check(self._library.nvFatbinSize(handle, ctypes.byref(total)), "the size")
            buffer = ctypes.create_string_buffer(total.value)
            self._check(self._library.nvFatbinGet(handle, buffer), "the result")
        return buffer.raw

    @contextmanager
    def _handle(self, words: list[str]) -> Iterator[ctypes.c_void_p]:
        handle = ctypes.c_void_p()
        array = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        status = self._library.nvFatbinCreate(ctypes.byref(handle), array, ctypes.c_size_t(len(words)))
        self._check(status, f"its options {' '.join(words)}")
        try:
            yield handle
        finally:
            self._library.nvFatbinDestroy(ctypes.byref(handle))

    def _check(self, status: int, what: str) -> None:
        if status:
            text = self._library.nvFatbinGetErrorString(status).decode()
            raise NvccError(f"libnvfatbin refused {what}: {text}")
