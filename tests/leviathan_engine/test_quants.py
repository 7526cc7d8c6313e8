"""Dequantised blocks equal those of llama.cpp's own Python code, for every covered type."""

from typing import Any

import gguf
import numpy as np
import pytest

from leviathan_engine.gguf import GgmlType
from leviathan_engine.gguf.quants import ROWS, dequantize, to_bf16

# Bytes at which a type has 16-bit floats: random bits there would be infinities.
HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}


@pytest.mark.parametrize("kind", ROWS, ids=lambda k: k.name)
def test_equal_to_llama_cpps_python(kind: GgmlType) -> None:
    rng = np.random.default_rng(int(kind))
    if kind.name in HALVES:
        blocks = rng.integers(0, 256, (500, kind.size), dtype=np.uint8)
        for at in HALVES[kind.name]:
            blocks[:, at : at + 2] = rng.standard_normal(500).astype(np.float16).view(np.uint8).reshape(500, 2)
    else:
        values = rng.standard_normal(500).astype(np.float32)
        plain: Any = {"F32": values, "F16": values.astype(np.float16), "BF16": to_bf16(values)}[kind.name]
        blocks = plain.view(np.uint8).reshape(500, kind.size)
    want = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(int(kind))).reshape(-1)
    got = dequantize(blocks.tobytes(), kind)
    assert got.dtype == np.float32
    assert np.array_equal(got, want)
    assert len(np.unique(got)) > 100


def test_bf16_rounds_to_nearest_even() -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F800000, 0xFF800000, 0x7F800001, 0x80000000], np.uint32)
    want = [0x3F80, 0x3F82, 0x3F81, 0x7F80, 0xFF80, 0x7FC0, 0x8000]
    assert to_bf16(bits.view(np.float32)).tolist() == want


def test_bf16_is_what_llama_cpp_writes() -> None:
    values = np.random.default_rng(5).standard_normal(4096).astype(np.float32)
    assert np.array_equal(to_bf16(values), gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16).view(np.uint16))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="got IQ2_XXS"):
        dequantize(bytes(66), GgmlType.IQ2_XXS)
    with pytest.raises(ValueError, match="expected Q4_K blocks of 144 bytes, got 145 bytes"):
        dequantize(bytes(145), GgmlType.Q4_K)
