"""GGUF's quantised blocks as floats, with the plain code that the launcher's tools use: the kernels' reference."""

from collections.abc import Sequence

import numpy as np
import torch

from leviathan_engine.gguf.quants import dequantize
from leviathan_engine.gguf.types import GgmlType

# What `kernels/gguf_blocks.h` reads: the types for which KTransformers' loader has a kernel.
KINDS = tuple(GgmlType[name] for name in ("Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"))


def dequantise(blocks: torch.Tensor, kind: GgmlType, shape: Sequence[int]) -> torch.Tensor:
    """The float32 elements of `blocks` (uint8, whole blocks of `kind`, anywhere) in `shape`, on the CPU.

    Errors: ValueError for another type, for bytes that are not whole blocks, or for a shape of another size.
    """
    if kind not in KINDS:
        raise ValueError(f"expected blocks of {', '.join(k.name for k in KINDS)}, got {kind.name}")
    raw = np.ascontiguousarray(blocks.cpu().numpy()).reshape(-1)
    values = torch.from_numpy(dequantize(raw, kind))
    if values.numel() != int(np.prod(shape)):
        raise ValueError(f"expected {int(np.prod(shape))} elements for the shape {tuple(shape)}, got {values.numel()}")
    return values.reshape(tuple(shape))
