"""Gives Triton the key of the whole libtriton.so where the library was blanked for the journey (see docs/gpu.md).

Triton looks its kernels up under a hash of its own compiler's bytes. The shipped cache was filled with the whole
compiler; in the tree that travels most of it is zero, so the same key is handed in. Installed beside a .pth file that
imports it; the key is the text of /t/triton_key, printed in the whole image by `triton.runtime.cache.triton_key()`.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any


class Finder(MetaPathFinder):
    """Finds triton.runtime.cache where it is, and replaces its triton_key once it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, with one more step after its execution."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "triton.runtime.cache" else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def then(module: Any) -> None:
            execute(module)
            module.triton_key = lambda: Path("/t/triton_key").read_text(encoding="utf-8")

        spec.loader.exec_module = then  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Finder())
