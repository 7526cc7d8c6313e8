"""Packs 4-bit and 8-bit weights for the Marlin kernel with torch, on the device where they are.

KTransformers 0.2.1.post1 packs with numpy on one CPU core (`marlin_utils.marlin_weights`): about 1e8 weights per
second, more than two minutes for DeepSeek-V3, and each tensor is copied to the CPU and back. The same integer
operations in torch run on the GPU, with bit-identical results.
"""

from importlib import import_module
from typing import Any

UPSTREAM = "ktransformers.ktransformers_ext.operators.custom_marlin.quantize.utils.marlin_utils"


def pack(q_w: Any, size_k: int, size_n: int, num_bits: int, perm: Any) -> Any:
    """Packs quantised weights into Marlin's layout, as upstream's `marlin_weights` does.

    Args:
        q_w: int32 tensor of shape (`size_k`, `size_n`), each value in [0, 2**`num_bits`).
        size_k: inputs of the layer, a multiple of 16.
        size_n: outputs of the layer, a multiple of 16.
        num_bits: bits of a weight, 4 or 8.
        perm: int64 permutation of one tile row, upstream's `marlin_perm[num_bits]`.

    Returns:
        int32 tensor of shape (`size_k` / 16, `size_n` * `num_bits` / 2) on the device of `q_w`: 32 / `num_bits`
        weights a word, the first in the lowest bits.
    """
    utils = import_module(UPSTREAM)
    count = utils.get_pack_factor(num_bits)
    # (rows, words of a row, weights of a word)
    weights = utils.marlin_permute_weights(q_w, size_k, size_n, perm.to(q_w.device)).unflatten(1, (-1, count))
    words = weights[..., 0].clone()
    for place in range(1, count):
        words |= weights[..., place] << (num_bits * place)
    return words


def install() -> None:
    """Makes upstream's loader pack with `pack`. Call it before a model is loaded."""
    upstream: Any = import_module(UPSTREAM)
    upstream.marlin_weights = pack
