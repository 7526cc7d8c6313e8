"""One MoE layer of quantised experts and its answer in float64, with numpy alone.

The formula is DeepSeek-V3's expert: down(silu(gate x) · up x), summed over the chosen experts by weight. Blocks are
ggml's Q4_K (144 bytes for 256 values) and Q6_K (210 bytes), the types of a Q4_K_M file.
"""

from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

Q4_K, Q6_K = gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q6_K
BF16 = 30  # ggml's number of the activations' type
Array = NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """Quantised weights of one layer: (experts, rows, bytes a row); gate and up in Q4_K, down in Q6_K."""

    gate: Array
    up: Array
    down: Array


def blocks(random: np.random.Generator, kind: gguf.GGMLQuantizationType, *shape: int) -> Array:
    """Random blocks with scales that keep weights near 0.03; `shape` is in values, its last a multiple of 256."""
    size = 144 if kind == Q4_K else 210
    raw = random.integers(0, 256, (int(np.prod(shape)) // 256, size), dtype=np.uint8)
    if kind == Q4_K:
        raw[:, 0:2] = np.full((len(raw), 1), 0.0002, np.float16).view(np.uint8)
        raw[:, 2:4] = np.full((len(raw), 1), 0.0015, np.float16).view(np.uint8)
    else:
        raw[:, 192:208] = random.integers(-30, 30, (len(raw), 16), dtype=np.int8).view(np.uint8)
        raw[:, 208:210] = np.full((len(raw), 1), 0.0001, np.float16).view(np.uint8)
    return raw.reshape(*shape[:-1], shape[-1] // 256 * size)


def random_layer(seed: int, hidden: int, width: int, experts: int) -> Layer:
    """A layer of random experts; `hidden` and `width` in values."""
    random = np.random.default_rng(seed)
    return Layer(
        blocks(random, Q4_K, experts, width, hidden),
        blocks(random, Q4_K, experts, width, hidden),
        blocks(random, Q6_K, experts, hidden, width),
    )


def to_bf16(x: Array) -> Array:
    """float32 to bfloat16's bits (uint16), to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits: Array) -> Array:
    """bfloat16's bits (uint16) to float64."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def q8_k(x: Array) -> Array:
    """Rounds to 8 bits as ggml's quantize_row_q8_K does: the largest of each 256 values, sign and all, becomes -127."""
    block = x.reshape(-1, 256)
    largest = np.take_along_axis(block, np.abs(block).argmax(axis=1, keepdims=True), axis=1)
    scale = np.where(largest == 0, 1.0, largest / -127)
    return (np.minimum(np.rint(block / scale), 127) * scale).reshape(x.shape)


def reference(layer: Layer, x: Array, ids: Array, weights: Array, rounded: bool) -> Array:
    """sum over chosen experts of weight · down(silu(gate x) · up x), in float64.

    Args:
        layer: the weights.
        x: activations, (tokens, hidden).
        ids: chosen experts, (tokens, experts a token).
        weights: their weights, of the same shape.
        rounded: round activations to 8 bits where the engine does it: before gate and up, and before down.
    """
    out = np.zeros_like(x, dtype=np.float64)
    quantise = q8_k if rounded else np.copy
    x = quantise(x.astype(np.float64))
    for expert in np.unique(ids).tolist():
        parts = [(layer.gate, Q4_K), (layer.up, Q4_K), (layer.down, Q6_K)]
        gate, up, down = (gguf.dequantize(w[expert], kind).astype(np.float64) for w, kind in parts)
        token, slot = np.nonzero(ids == expert)
        inner = x[token] @ gate.T
        inner = inner / (1 + np.exp(-inner)) * (x[token] @ up.T)
        np.add.at(out, token, (quantise(inner) @ down.T) * weights[token, slot].astype(np.float64)[:, None])
    return out


def distance(got: Array, wanted: Array) -> float:
    """Relative L2 distance, got from wanted."""
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
