"""The compiled operators (gguf_experts.cu, staging.cpp), called with torch's tensors on torch's current stream.

The library has a plain C interface, so it is loaded with ctypes and knows nothing of torch's headers. Every function
checks what the kernels take for granted: device, type, shape, no gaps.
"""

import ctypes
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._C import _cuda_getCurrentRawStream as raw_stream  # which Triton's launches call, too

FILE = Path(__file__).resolve().parent / "libleviathan_operators.so"
_P, _I, _L, _F = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "leviathan_dequantise": (_I, (_I, _P, _P, _L, _P)),
    "leviathan_gate_up": (_I, (_I, _P, _P, _L, _P, _P, _P, _I, _I, _I, _I, _P)),
    "leviathan_down": (_I, (_I, _P, _L, _P, _P, _P, _P, _I, _I, _I, _I, _P)),
    "leviathan_route": (_I, (_P, _P, _P, _P, _P, _I, _P)),
    "leviathan_silu_times": (_I, (_P, _P, _L, _I, _P)),
    "leviathan_add_scaled": (_I, (_P, _P, _P, _P, _L, _I, _P)),
    "leviathan_norm": (_I, (_I, _P, _P, _F, _I, _P, _P, _P, _P)),
    "leviathan_quantise": (_I, (_I, _P, _I, _I, _P, _P)),
    "leviathan_multiply": (_I, (_I, _I, _P, _I, _P, _I, _I, _P, _P, _P, _I, _P)),
    "leviathan_gate_up_one": (_I, (_I, _I, _P, _P, _L, _P, _P, _P, _I, _I, _I, _P)),
    "leviathan_down_one": (_I, (_I, _I, _P, _L, _P, _P, _P, _P, _I, _I, _I, _P)),
    "leviathan_latents": (_I, (_I, _P, _I, _I, _I, _P, _P, _F, _P, _P, _P, _P, _I, _P, _P, _P)),
    "leviathan_absorb": (_I, (_P, _P, _I, _I, _I, _I, _I, _P, _P, _P, _P)),
    "leviathan_values": (_I, (_I, _P, _P, _I, _I, _I, _I, _P, _P)),
    "leviathan_router": (_I, (_P, _P, _I, _P, _P, _I, _I, _I, _I, _I, _F, *[_P] * 7)),
    "leviathan_layer_sum": (_I, (_P, _P, _P, _I, _P, _P)),
    "leviathan_ring_create": (_P, (_I, _I, _L, _P, _I, _L)),
    "leviathan_ring_destroy": (None, (_P,)),
    "leviathan_ring_begin": (_I, (_P, _P, _P, _L)),
    "leviathan_ring_wait": (_P, (_P, _L, _P)),
    "leviathan_ring_release": (_I, (_P, _L, _P)),
    "leviathan_ring_skip": (_I, (_P, _P, _L)),
    "leviathan_ring_page_locked": (None, (_P, _L, _L, _L, _P)),
    "leviathan_ring_stop": (None, (_P,)),
    "leviathan_ring_figures": (None, (_P, _P)),
    "leviathan_ring_error": (ctypes.c_char_p, (_P,)),
    "leviathan_page_lock": (_P, (_I, _L, _L)),
    "leviathan_page_unlock": (None, (_P, _L)),
    "leviathan_page_lock_error": (ctypes.c_char_p, ()),
}

_ALREADY = nullcontext()


@dataclass(frozen=True)
class Slots:
    """Experts in a device's memory: the addresses of slot 0's gate, up and down, and the bytes from slot to slot.

    `gate_kind` is ggml's number of the type of gate and up, `down_kind` of down; `memory` keeps the slots alive.
    """

    gate: int
    up: int
    down: int
    stride: int
    gate_kind: int
    down_kind: int
    memory: torch.Tensor | None = None


class KernelError(RuntimeError):
    """A launch that CUDA refused, or a ring that failed."""


class Library:
    """The functions of the shared object at `file`. Errors: OSError when it cannot be loaded."""

    def __init__(self, file: Path = FILE) -> None:
        self._library = ctypes.CDLL(os.fspath(file))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def current(self, device: torch.device) -> AbstractContextManager[Any]:
        """Makes `device` torch's current device until the end of the block.

        A default stream has the same handle on every device, and a kernel starts on the current one.
        """
        return _ALREADY if device.index == torch.cuda.current_device() else torch.cuda.device(device)

    def stream(self, tensor: torch.Tensor) -> int:
        """torch's current stream on the tensor's device."""
        return int(raw_stream(tensor.device.index))

    def call(self, name: str, on: torch.Tensor, *arguments: Any) -> None:
        """Calls `leviathan_NAME` on the current stream of a tensor's device, which need not be torch's current device.

        Errors: KernelError.
        """
        stream = self.stream(on)
        with self.current(on.device):
            code = getattr(self._library, f"leviathan_{name}")(*arguments, stream)
        if code:
            raise KernelError(f"{name}: CUDA error {code}")

    def dequantise(self, kind: int, blocks: int, out: torch.Tensor) -> None:
        """Fills `out`, bfloat16, from the blocks of ggml type `kind` at the device address `blocks`."""
        _want((out, torch.bfloat16))
        self.call("dequantise", out, kind, blocks, out.data_ptr(), out.numel())

    def gate_up(self, weights: Slots, slots: torch.Tensor, x: torch.Tensor, out: torch.Tensor) -> None:
        """silu(gate x) * (up x) for each (token, choice) whose slot is not negative.

        Args:
            weights: where the experts lie.
            slots: int32 (tokens, choices).
            x: bfloat16 (tokens, hidden).
            out: float32 (tokens, choices, width); rows of other devices' choices are left as they are.
        """
        _want((slots, torch.int32), (x, torch.bfloat16), (out, torch.float32))
        tokens, choices, width = out.shape
        where = (weights.gate_kind, weights.gate, weights.up, weights.stride, slots.data_ptr(), x.data_ptr())
        self.call("gate_up", x, *where, out.data_ptr(), tokens, choices, width, x.shape[1])

    def down(
        self, weights: Slots, slots: torch.Tensor, scales: torch.Tensor, hidden: torch.Tensor, out: torch.Tensor
    ) -> None:
        """The sum over a token's choices, in their order, of scale * (down hidden); float32 (tokens, rows) in `out`.

        Args: as in `gate_up`; `hidden` is what it gave, `scales` float32 (tokens, choices).
        """
        _want((slots, torch.int32), (scales, torch.float32), (hidden, torch.float32), (out, torch.float32))
        tokens, choices, width = hidden.shape
        where = (weights.down_kind, weights.down, weights.stride)
        given = (slots.data_ptr(), scales.data_ptr(), hidden.data_ptr())
        self.call("down", out, *where, *given, out.data_ptr(), tokens, choices, out.shape[1], width)

    def route(
        self,
        ids: torch.Tensor,
        table: torch.Tensor,
        slots: torch.Tensor,
        cpu_ids: torch.Tensor,
        uses: torch.Tensor | None,
    ) -> None:
        """Splits the router's choice: `slots` (int32) of those in `table` (int32, one an expert), `cpu_ids` (int64) of
        the others, -1 elsewhere; and counts each in `uses` (int64, one an expert)."""
        _want((ids, torch.int64), (table, torch.int32), (slots, torch.int32), (cpu_ids, torch.int64))
        counted = 0 if uses is None else uses.data_ptr()
        given = (ids.data_ptr(), table.data_ptr(), slots.data_ptr(), cpu_ids.data_ptr())
        self.call("route", ids, *given, counted, ids.numel())

    def silu_times(self, both: torch.Tensor, out: torch.Tensor) -> None:
        """silu of the left half of `both` (rows, 2 * width) times the right half; bfloat16."""
        _want((both, torch.bfloat16), (out, torch.bfloat16))
        self.call("silu_times", out, both.data_ptr(), out.data_ptr(), out.shape[0], out.shape[1])

    def add_scaled(self, rows: torch.Tensor, tokens: torch.Tensor, scales: torch.Tensor, out: torch.Tensor) -> None:
        """out[tokens[i]] += scales[i] * rows[i]: bfloat16 rows, different tokens (int64), float32 scales and `out`."""
        _want((rows, torch.bfloat16), (tokens, torch.int64), (scales, torch.float32), (out, torch.float32))
        given = (rows.data_ptr(), tokens.data_ptr(), scales.data_ptr(), out.data_ptr())
        self.call("add_scaled", out, *given, *rows.shape)


def _want(*wanted: tuple[torch.Tensor, torch.dtype]) -> None:
    for tensor, kind in wanted:
        if tensor.dtype != kind or not tensor.is_contiguous() or not tensor.is_cuda:
            gaps = "" if tensor.is_contiguous() else " with gaps"
            raise ValueError(f"expected a {kind} tensor on a GPU, got {tensor.dtype} on {tensor.device}{gaps}")
