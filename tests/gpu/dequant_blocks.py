"""Random blocks of the types that the engine's library dequantises, and what they hold in float64, by numpy alone.

Written element by element from ggml's definition, apart from `leviathan_engine.gguf.quants`, against which
tests/bench/test_gpu_kernels.py holds it. `kernels.py` runs the library on a GPU against it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float64)
INDEX = np.arange(256)


@dataclass(frozen=True)
class Kind:
    """A block type.

    Args:
        size: bytes of a block.
        elements: in a block.
        halves: where its float16 scales lie; the first one scales every element.
        reference: blocks (count, size) → elements (count, elements).
    """

    size: int
    elements: int
    halves: tuple[int, ...]
    reference: Callable[[Bytes], Floats]


def half(blocks: Bytes, at: int) -> Floats:
    """The float16 at byte `at` of every block, as a column."""
    return blocks[:, at : at + 2].copy().view(np.float16).astype(np.float64)


def whole(blocks: Bytes, at: Ints | slice) -> Ints:
    """The bytes `at`, one for each element, as integers without a sign."""
    return blocks[:, at].astype(np.int64)


def signed(blocks: Bytes, at: Ints | slice) -> Ints:
    """The bytes `at`, one for each element, as integers with a sign."""
    return (whole(blocks, at) ^ 128) - 128


def q8_0(blocks: Bytes) -> Floats:
    """32 signed bytes after their scale."""
    out: Floats = half(blocks, 0) * signed(blocks, slice(2, 34))
    return out


def q2_k(blocks: Bytes) -> Floats:
    """2 bits an element; 4 bits of scale and 4 of minimum for each 16."""
    q = whole(blocks, 16 + INDEX // 128 * 32 + INDEX % 32) >> (INDEX % 128 // 32 * 2) & 3
    scales = whole(blocks, INDEX // 16)
    out: Floats = half(blocks, 80) * (scales & 15) * q - half(blocks, 82) * (scales >> 4)
    return out


def q3_k(blocks: Bytes) -> Floats:
    """2 bits and a third from a mask, which where it is 0 takes 4 away; a 6-bit scale less 32 for each 16."""
    low = whole(blocks, 32 + INDEX // 128 * 32 + INDEX % 32) >> (INDEX % 128 // 32 * 2) & 3
    high = whole(blocks, INDEX % 32) >> (INDEX // 32) & 1
    j = INDEX // 16
    scale = whole(blocks, 96 + j % 8) >> (j // 8 * 4) & 15 | (whole(blocks, 104 + j % 4) >> (j // 4 * 2) & 3) << 4
    return half(blocks, 108) * (scale - 32) * (low - 4 * (1 - high))


def scales_and_minimums(blocks: Bytes) -> tuple[Ints, Ints]:
    """Q4_K's and Q5_K's eight 6-bit scales and minimums out of bytes 4 to 16, one of each for each element."""
    j, s = INDEX // 32, whole(blocks, slice(4, 16))
    first, rest = np.minimum(j, 3), np.maximum(j, 4) - 4
    scale = np.where(j < 4, s[:, first] & 63, (s[:, rest + 8] & 15) | (s[:, rest] >> 6 << 4))
    least = np.where(j < 4, s[:, first + 4] & 63, (s[:, rest + 8] >> 4) | (s[:, rest + 4] >> 6 << 4))
    return scale, least


def q4_k(blocks: Bytes) -> Floats:
    """4 bits an element; scale and minimum for each 32."""
    q = whole(blocks, 16 + INDEX // 64 * 32 + INDEX % 32) >> (INDEX // 32 % 2 * 4) & 15
    scale, least = scales_and_minimums(blocks)
    return half(blocks, 0) * scale * q - half(blocks, 2) * least


def q5_k(blocks: Bytes) -> Floats:
    """As Q4_K, with a fifth bit from a mask."""
    low = whole(blocks, 48 + INDEX // 64 * 32 + INDEX % 32) >> (INDEX // 32 % 2 * 4) & 15
    high = whole(blocks, 16 + INDEX % 32) >> (INDEX // 32) & 1
    scale, least = scales_and_minimums(blocks)
    return half(blocks, 0) * scale * (low | high << 4) - half(blocks, 2) * least


def q6_k(blocks: Bytes) -> Floats:
    """6 bits less 32; a signed byte of scale for each 16."""
    n, r = INDEX // 128, INDEX % 128
    low = whole(blocks, n * 64 + r % 64) >> (r // 64 * 4) & 15
    high = whole(blocks, 128 + n * 32 + r % 32) >> (r // 32 * 2) & 3
    out: Floats = half(blocks, 208) * signed(blocks, 192 + INDEX // 16) * ((low | high << 4) - 32)
    return out


def iq4_xs(blocks: Bytes) -> Floats:
    """4 bits that choose from a table; a 6-bit scale less 32 for each 32."""
    q = whole(blocks, 8 + INDEX // 32 * 16 + INDEX % 16) >> (INDEX // 16 % 2 * 4) & 15
    j = INDEX // 32
    high = whole(blocks, 2 + j // 4) >> (j % 4 * 2) & 3
    scale = (whole(blocks, 4 + j // 2) >> (j % 2 * 4) & 15) | high << 4
    out: Floats = half(blocks, 0) * (scale - 32) * IQ4[q]
    return out


KINDS = {
    "q8_0": Kind(34, 32, (0,), q8_0),
    "q2_k": Kind(84, 256, (80, 82), q2_k),
    "q3_k": Kind(110, 256, (108,), q3_k),
    "q4_k": Kind(144, 256, (0, 2), q4_k),
    "q5_k": Kind(176, 256, (0, 2), q5_k),
    "q6_k": Kind(210, 256, (208,), q6_k),
    "iq4_xs": Kind(136, 256, (0,), iq4_xs),
}


def random_blocks(kind: Kind, count: int) -> Bytes:
    """Blocks from a seed of the type's own: every byte at random, the float16 scales between 0.001 and 0.011."""
    random = np.random.default_rng(kind.size)
    blocks = random.integers(0, 256, (count, kind.size), dtype=np.uint8)
    for at in kind.halves:
        blocks[:, at : at + 2] = (random.random((count, 1)) * 0.01 + 0.001).astype(np.float16).view(np.uint8)
    return blocks


def sample(count: int, threads: int = 512 * 256, size: int = 2048) -> Ints:
    """Blocks to look at: the first ones, the last ones, and those on either side of the kernels' second round.

    Args:
        count: blocks in all.
        threads: in a launch of the kernels: block `threads` is the first that a thread does as its second.
        size: of each of the three parts.
    """
    parts = [np.arange(size), np.arange(threads - size // 2, threads + size // 2), np.arange(count - size, count)]
    return np.unique(np.clip(np.concatenate(parts), 0, count - 1))


def error(got: Floats, wanted: Floats) -> float:
    """The widest deviation of an element, as a share of its own block's largest: small blocks count as large ones."""
    return float(np.max(np.abs(got - wanted).max(axis=1) / np.abs(wanted).max(axis=1)))


def corrupted(kind: Kind, blocks: Bytes) -> Bytes:
    """The blocks with the last bit of one scale turned over, in the block whose elements are largest."""
    out = blocks.copy()
    out[int(np.abs(kind.reference(blocks)).max(axis=1).argmax()), kind.halves[0]] ^= 1
    return out
