"""Turns quantised blocks back into 32-bit floats with numpy.

Block layouts as in ggml's `ggml-common.h` and `dequantize_row_*` of `ggml-quants.c`. Supports the plain types, the
32-element types, the K-quants and the two IQ4 types. Refuses the IQ1, IQ2, IQ3 and ternary types, which need ggml's
code books.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .types import GgmlType

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
SIXTEEN = np.uint8(16)
# ggml's kvalues_iq4nl.
IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)


def dequantize(data: bytes | Bytes, kind: GgmlType) -> Floats:
    """Returns the elements of `data`, complete blocks of type `kind`, as one row.

    Errors: ValueError for a type that is not supported, or for bytes that are not complete blocks.
    """
    raw = np.frombuffer(data, np.uint8)
    if kind not in ROWS:
        raise ValueError(f"dequantize: expected a type of {', '.join(k.name for k in ROWS)}, got {kind.name}")
    if raw.size % kind.size:
        raise ValueError(f"dequantize: expected {kind.name} blocks of {kind.size} bytes, got {raw.size} bytes")
    return ROWS[kind](raw.reshape(-1, kind.size)).reshape(-1)


def to_bf16(values: Floats) -> npt.NDArray[np.uint16]:
    """Converts 32-bit floats to bfloat16 bits, rounded to nearest even as in torch."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def _half(b: Bytes, at: int) -> Floats:
    """Returns the 16-bit float at byte `at` of every block, as a column."""
    return np.ascontiguousarray(b[:, at : at + 2]).view(np.float16).astype(np.float32)


def _nibbles(qs: Bytes) -> Bytes:
    """Returns the low nibbles of a run of bytes, then its high nibbles; runs are the last axis."""
    return np.concatenate([qs & 15, qs >> 4], axis=-1)


def _fifth_bits(b: Bytes, at: int) -> Bytes:
    """Returns the 32 bits at byte `at`, as 0 or 16 for each element."""
    return np.unpackbits(b[:, at : at + 4], axis=-1, bitorder="little") * SIXTEEN


def _f32(b: Bytes) -> Floats:
    return np.ascontiguousarray(b).view(np.float32)


def _f16(b: Bytes) -> Floats:
    return np.ascontiguousarray(b).view(np.float16).astype(np.float32)


def _bf16(b: Bytes) -> Floats:
    return (np.ascontiguousarray(b).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _q4_0(b: Bytes) -> Floats:
    return _half(b, 0) * (_nibbles(b[:, 2:]).astype(np.float32) - 8)


def _q4_1(b: Bytes) -> Floats:
    return _half(b, 0) * _nibbles(b[:, 4:]) + _half(b, 2)


def _q5_0(b: Bytes) -> Floats:
    return _half(b, 0) * ((_nibbles(b[:, 6:]) | _fifth_bits(b, 2)).astype(np.float32) - 16)


def _q5_1(b: Bytes) -> Floats:
    return _half(b, 0) * (_nibbles(b[:, 8:]) | _fifth_bits(b, 4)) + _half(b, 2)


def _q8_0(b: Bytes) -> Floats:
    return _half(b, 0) * np.ascontiguousarray(b[:, 2:]).view(np.int8)


def _iq4_nl(b: Bytes) -> Floats:
    return _half(b, 0) * IQ4[_nibbles(b[:, 2:])]


def _crumbs(qs: Bytes) -> Bytes:
    """Returns the 2-bit elements of K-quants: for each 32 bytes the lowest two bits of all, then the next two, …"""
    groups = qs.reshape(len(qs), -1, 1, 32)
    return ((groups >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)) & 3).astype(np.uint8)


def _q2_k(b: Bytes) -> Floats:
    scales = b[:, :16].reshape(-1, 16, 1)
    q = _crumbs(b[:, 16:80]).reshape(-1, 16, 16).astype(np.float32)
    d, dmin = _half(b, 80).reshape(-1, 1, 1), _half(b, 82).reshape(-1, 1, 1)
    return d * (scales & 15) * q - dmin * (scales >> 4)


def _q3_k(b: Bytes) -> Floats:
    high = np.unpackbits(b[:, :32].reshape(-1, 1, 32), axis=1, bitorder="little").reshape(-1, 8, 32)
    q = _crumbs(b[:, 32:96]).reshape(-1, 8, 32).astype(np.float32) - 4 * (1 - high.astype(np.float32))
    low, top = _nibbles(b[:, 96:104]).astype(np.int16), b[:, 104:108]
    scales = low.reshape(-1, 4, 4) | np.stack([(top >> s) & 3 for s in (0, 2, 4, 6)], axis=1).astype(np.int16) << 4
    steps = (scales.reshape(-1, 16, 1) - 32).astype(np.float32)
    return _half(b, 108).reshape(-1, 1, 1) * steps * q.reshape(-1, 16, 16)


def _scales_and_mins(s: Bytes) -> tuple[Bytes, Bytes]:
    """Unpacks eight 6-bit scales and eight 6-bit minimums from 12 bytes (Q4_K and Q5_K)."""
    first, second, third = s[:, 0:4], s[:, 4:8], s[:, 8:12]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], axis=1)
    mins = np.concatenate([second & 63, (third >> 4) | (second >> 6) << 4], axis=1)
    return scales.reshape(-1, 8, 1), mins.reshape(-1, 8, 1)


def _q4_k(b: Bytes) -> Floats:
    q = _nibbles(b[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    return _with_mins(b, q)


def _q5_k(b: Bytes) -> Floats:
    high = np.unpackbits(b[:, 16:48].reshape(-1, 1, 32), axis=1, bitorder="little").reshape(-1, 8, 32)
    return _with_mins(b, _nibbles(b[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32) | high * SIXTEEN)


def _with_mins(b: Bytes, q: Bytes) -> Floats:
    scales, mins = _scales_and_mins(b[:, 4:16])
    return _half(b, 0).reshape(-1, 1, 1) * scales * q - _half(b, 2).reshape(-1, 1, 1) * mins


def _q6_k(b: Bytes) -> Floats:
    low = _nibbles(b[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    q = (low | _crumbs(b[:, 128:192]).reshape(-1, 2, 4, 32) << 4).astype(np.float32) - 32
    scales = np.ascontiguousarray(b[:, 192:208]).view(np.int8).reshape(-1, 16, 1).astype(np.float32)
    return _half(b, 208).reshape(-1, 1, 1) * scales * q.reshape(-1, 16, 16)


def _iq4_xs(b: Bytes) -> Floats:
    high = np.ascontiguousarray(b[:, 2:4]).view(np.uint16)
    low = np.stack([b[:, 4:8] & 15, b[:, 4:8] >> 4], axis=-1).reshape(-1, 8)
    scales = (low | ((high >> np.arange(0, 16, 2, dtype=np.uint16)) & 3) << 4).astype(np.float32) - 32
    steps: Floats = (_half(b, 0) * scales).reshape(-1, 8, 1)
    return steps * IQ4[_nibbles(b[:, 8:].reshape(-1, 8, 16))]


ROWS: dict[GgmlType, Callable[[Bytes], Floats]] = {
    GgmlType.F32: _f32,
    GgmlType.F16: _f16,
    GgmlType.BF16: _bf16,
    GgmlType.Q4_0: _q4_0,
    GgmlType.Q4_1: _q4_1,
    GgmlType.Q5_0: _q5_0,
    GgmlType.Q5_1: _q5_1,
    GgmlType.Q8_0: _q8_0,
    GgmlType.Q2_K: _q2_k,
    GgmlType.Q3_K: _q3_k,
    GgmlType.Q4_K: _q4_k,
    GgmlType.Q5_K: _q5_k,
    GgmlType.Q6_K: _q6_k,
    GgmlType.IQ4_NL: _iq4_nl,
    GgmlType.IQ4_XS: _iq4_xs,
}
