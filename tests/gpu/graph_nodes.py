"""What a captured decode step consists of: nodes by type, and kernels by name, from the CUDA graph itself.

`keep_graphs()` before the engine captures, then `nodes(graph)`. The driver's own functions count: nothing is estimated.
"""

import ctypes
from collections import Counter
from importlib import import_module
from typing import Any

# CUgraphNodeType.
TYPES = ("kernel", "memcpy", "memset", "host", "graph", "empty", "wait event", "record event")


def keep_graphs() -> None:
    """Has KTransformers' runner capture graphs that can be looked into."""
    torch = import_module("torch")
    plain = torch.cuda.CUDAGraph

    class Kept(plain):  # type: ignore[misc, valid-type]
        def __new__(cls) -> Any:
            return super().__new__(cls, keep_graph=True)

        def __init__(self) -> None:
            super().__init__(keep_graph=True)

    torch.cuda.CUDAGraph = Kept


def nodes(graph: Any) -> dict[str, Any]:
    """How many nodes of each type, and how often each kernel is started."""
    driver = ctypes.CDLL("libcuda.so.1")
    handle, count = ctypes.c_void_p(graph.raw_cuda_graph()), ctypes.c_size_t()
    _done(driver.cuGraphGetNodes(handle, None, ctypes.byref(count)))
    every = (ctypes.c_void_p * count.value)()
    _done(driver.cuGraphGetNodes(handle, every, ctypes.byref(count)))
    types: Counter[str] = Counter()
    kernels: Counter[str] = Counter()
    for node in every:
        kind = ctypes.c_int()
        _done(driver.cuGraphNodeGetType(ctypes.c_void_p(node), ctypes.byref(kind)))
        types[TYPES[kind.value] if kind.value < len(TYPES) else str(kind.value)] += 1
        if kind.value == 0:
            kernels[_name(driver, node)] += 1
    return {"nodes": sum(types.values()), "types": dict(types), "kernels": dict(kernels.most_common())}


def _name(driver: Any, node: int) -> str:
    """A kernel's name, from the function or the kernel of CUDA_KERNEL_NODE_PARAMS (v2), whichever is set."""
    parameters, name = (ctypes.c_uint64 * 32)(), ctypes.c_char_p()
    _done(driver.cuGraphKernelNodeGetParams_v2(ctypes.c_void_p(node), parameters))
    function, kernel = parameters[0], parameters[7]
    if function and not driver.cuFuncGetName(ctypes.byref(name), ctypes.c_void_p(function)):
        return (name.value or b"?").decode()[:80]
    if kernel and not driver.cuKernelGetName(ctypes.byref(name), ctypes.c_void_p(kernel)):
        return (name.value or b"?").decode()[:80]
    return "?"


def _done(code: int) -> None:
    if code:
        raise RuntimeError(f"CUDA driver error {code}")
