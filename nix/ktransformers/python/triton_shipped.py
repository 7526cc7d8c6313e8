"""Triton's cache manager for an image without a C compiler: what was compiled at build time comes first.

Triton compiles three kinds of things at first use: kernels (with its own ptxas), and, with a C compiler, `cuda_utils`
and one launcher a kernel signature. This package carries all of them for KTransformers' kernels, in the folder `cache`.
Whatever is not there is looked up, compiled and kept as usual, below TRITON_CACHE_DIR.

Switched on by TRITON_CACHE_MANAGER=triton_shipped:CacheManager (Triton takes classes by name only).
"""

import json
from pathlib import Path

from triton.runtime.cache import FileCacheManager

SHIPPED = Path(__file__).resolve().parent / "triton_shipped_cache"


class CacheManager(FileCacheManager):
    """Reads from SHIPPED, else reads and writes as Triton's own manager does."""

    def __init__(self, key: str, override: bool = False, dump: bool = False) -> None:
        self.shipped = SHIPPED / key
        self.arguments = (key, override, dump)
        self.cache_dir = None
        self.ready = False
        if override or dump or not self.shipped.is_dir():
            self._own()

    def _own(self) -> None:
        """Set up the writable cache; it makes a folder, so only once something is missing."""
        if not self.ready:
            super().__init__(*self.arguments)
            self.ready = True

    def get_file(self, filename: str) -> str | None:
        if (self.shipped / filename).is_file():
            return str(self.shipped / filename)
        self._own()
        return super().get_file(filename)

    def get_group(self, filename: str) -> dict[str, str] | None:
        """The files of one kernel; shipped groups name them without a folder, so they may lie anywhere."""
        listing = self.shipped / f"__grp__{filename}"
        if listing.is_file():
            names = json.loads(listing.read_text(encoding="utf-8"))["child_paths"]
            return {name: str(self.shipped / name) for name in names}
        self._own()
        return super().get_group(filename)

    def put(self, data: object, filename: str, binary: bool = True) -> str:
        self._own()
        return super().put(data, filename, binary)
