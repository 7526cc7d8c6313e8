"""A layer's experts on the CPU, computed by KTransformers' threads while the GPU does something else."""

from typing import Any

import torch
from torch import Tensor


class Buffers:
    """Page-locked memory for the CPU's input and output, up to `tokens` tokens; layers use it in turn.

    Errors: RuntimeError without page-locked memory.
    """

    def __init__(self, tokens: int, hidden: int, choices: int, *, page_locked: bool) -> None:
        self.tokens = tokens
        kinds = {"pin_memory": page_locked}
        self.x = torch.empty(tokens, hidden, dtype=torch.bfloat16, **kinds)
        self.out = torch.empty(tokens, hidden, dtype=torch.bfloat16, **kinds)
        self.ids = torch.empty(tokens * choices, dtype=torch.int64, **kinds)
        self.weights = torch.empty(tokens * choices, dtype=torch.float32, **kinds)
        self.free: torch.cuda.Event | None = None  # the last layer's output has been copied


class OnCpu:
    """One layer: `experts` is its KExpertsCPU, `pool` the CPUInfer whose threads compute."""

    def __init__(self, experts: Any, buffers: Buffers, pool: Any) -> None:
        self._experts, self._buffers, self._pool = experts, buffers, pool
        self._tokens = 0

    @property
    def most_tokens(self) -> int:
        """The largest number of tokens for `start`."""
        return self._buffers.tokens

    def start(self, x: Tensor, ids: Tensor, weights: Tensor) -> None:
        """Starts to compute the weighted sum of the chosen experts; get it with `result` before the next `start`.

        Args:
            x: bfloat16 (tokens, hidden).
            ids: int64 (tokens, choices) in main memory, -1 for a choice that the GPU computes.
            weights: (tokens, choices).
        """
        b, self._tokens = self._buffers, len(x)
        here = slice(self._tokens), slice(ids.numel())
        if b.free is not None:
            b.free.synchronize()
        b.x[here[0]].copy_(x, non_blocking=True)
        b.ids[here[1]].copy_(ids.flatten())
        b.weights[here[1]].copy_(weights.flatten(), non_blocking=True)
        given = (b.ids.data_ptr(), b.weights.data_ptr(), b.x.data_ptr(), b.out.data_ptr())
        work = self._experts.moe.forward(*ids.shape, *given)
        if not x.is_cuda:
            self._pool.submit(work)
            return
        with torch.cuda.device(x.device):  # a device's default stream has the same handle as every other's
            self._pool.submit_with_cuda_stream(torch.cuda.current_stream().cuda_stream, work)

    def result(self, device: torch.device) -> Tensor:
        """Returns the sum, bfloat16 (tokens, hidden), on the device of `start`, whose stream waits for the CPU."""
        threads, out = self._pool, self._buffers.out[: self._tokens]
        if device.type != "cuda":
            threads.sync()
            return out.clone()
        with torch.cuda.device(device):
            stream = torch.cuda.current_stream()
            threads.sync_with_cuda_stream(stream.cuda_stream)
            here = out.to(device, non_blocking=True)
            self._buffers.free = stream.record_event()
        return here
