"""Asks Triton for KTransformers' decode kernels as a run on a GPU would, and prints what came from the shipped cache.

    triton_run.py TRITON_CACHE_PY CAPABILITY HEADS:PAGES,... [LIBCUDA]

Prints JSON: for each kernel whether it was a cache hit, and whether cuda_utils and the kernels' launchers were found
without a C compiler. Without LIBCUDA (a stand-in with the driver's symbols) modules are looked up but not loaded.
"""

import ctypes
import importlib.util
import json
import sys
from types import SimpleNamespace
from typing import Any


def main(script: str, capability: int, cases: str, libcuda: str = "") -> dict[str, Any]:
    """Compile or find the kernels of each case; see the module's text."""
    spec = importlib.util.spec_from_file_location("triton_cache", script)
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    sys.modules["triton_cache"] = fill
    spec.loader.exec_module(fill)

    import triton  # noqa: PLC0415
    from triton.backends.nvidia import driver as nvidia  # noqa: PLC0415
    from triton.runtime import build  # noqa: PLC0415

    hits: list[bool] = []
    kernels: list[Any] = []
    if libcuda:
        ctypes.CDLL(libcuda, mode=ctypes.RTLD_GLOBAL)
    else:
        names = ("PyCUtensorMap", "load_binary", "get_device_properties", "cuOccupancyMaxActiveClusters")
        found = SimpleNamespace(**dict.fromkeys((*names, "set_printf_fifo_size", "fill_tma_descriptor", "launch")))
        build._load_module_from_path = lambda name, path: found
    triton.runtime.driver.set_active(fill.OfflineDriver(capability))
    triton.knobs.compilation.listener = lambda *, cache_hit, **_: hits.append(cache_hit)
    for case in cases.split(","):
        heads, pages = map(int, case.split(":"))
        fill.decode(fill.Case(heads, pages), lambda k, a, kw: kernels.append(k.run(*a, grid=(1,), warmup=True, **kw)))
    problem = ""
    try:
        nvidia.CudaUtils()
        launchers = [nvidia.CudaLauncher(kernel.src, kernel.metadata) for kernel in kernels]
    except RuntimeError as error:
        launchers, problem = [], str(error)
    return {
        "kernels": [kernel.name for kernel in kernels],
        "hits": hits,
        "launchers": len(launchers),
        "loaded": bool(libcuda),
        "problem": problem,
    }


if __name__ == "__main__":
    result = main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
    sys.stdout.write(json.dumps(result) + "\n")
