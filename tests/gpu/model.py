"""Writes a DeepSeek-V3 GGUF of random weights, of any size: `model.py OUT [--layers N --experts N --wide]`.

`--wide` takes DeepSeek-V3's own widths (hidden 7168, 128 heads, vocabulary 129280), so that the GPU's half of the model
is the real one; the number of layers and of experts is free, since the experts are the CPU's. Without it everything is
small. `--llama` writes what llama.cpp takes too: a whole vocabulary, and kv_b as its converter splits it. Types are
llama.cpp's Q4_K_M mix: Q4_K, and Q6_K for the output and part of the down projections. Blocks are
random bytes whose scale gives a weight the spread 1/sqrt(inputs), so activations neither vanish nor explode.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from leviathan_engine.gguf import GgmlType, Model, Tensor, ValueType
from leviathan_engine.gguf.quants import dequantize
from leviathan_engine.gguf.write import Typed, write_gguf
from leviathan_engine.model.reference import DEEPSEEK_V3, TINY, q4_k_m
from leviathan_engine.model.shape import ModelShape

SPECIAL = ["<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"]
SPECIAL += ["<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"]
POOL_BYTES = 64 << 20
# Where a block keeps its 16-bit scales, and each as a multiple of the first (Q4_K: the minimum's share of the spread).
SCALES = {GgmlType.Q4_K: ((0, 1.0), (2, 7.5)), GgmlType.Q6_K: ((208, 1.0),), GgmlType.Q5_0: ((0, 1.0),)}
SMALL = replace(TINY, heads=16, experts=16, experts_used=4, groups=4, groups_used=2, vocab=1024)


def wide(layers: int, experts: int) -> ModelShape:
    """DeepSeek-V3 with another number of layers and experts; eight experts are used, of half of the groups."""
    groups = 8 if experts >= 16 else 1
    return replace(
        DEEPSEEK_V3,
        layers=layers,
        dense_layers=min(3, layers - 1),
        experts=experts,
        groups=groups,
        groups_used=max(1, groups // 2),
    )


class Blocks:
    """Random tensors, from one pool of random bytes; the same seed gives the same file."""

    def __init__(self, seed: int, shape: ModelShape, zipf: float = 0.0) -> None:
        self._random, self._shape, self._zipf = np.random.default_rng(seed), shape, zipf
        self._pool = np.frombuffer(self._random.bytes(POOL_BYTES), np.uint8)

    def tensor(self, tensor: Tensor) -> bytes:
        """The bytes of one tensor; norms are around 1, a router's bias and row spread are small."""
        if self._zipf and tensor.name.endswith("exp_probs_b.bias"):
            return zipf_bias(self._shape, self._zipf, self._random).tobytes()
        if tensor.type is GgmlType.F32:
            spread = 0.05 if len(tensor.shape) == 1 else tensor.shape[0] ** -0.5
            mean = 1.0 if "norm" in tensor.name else 0.0
            values = self._random.standard_normal(tensor.elements) * spread + mean
            return values.astype(np.float32).tobytes()
        count = tensor.nbytes // tensor.type.size
        blocks = np.resize(np.roll(self._pool, -int(self._random.integers(POOL_BYTES))), tensor.nbytes)
        blocks = blocks.reshape(count, tensor.type.size)
        unit = tensor.shape[0] ** -0.5 / unit_spread(tensor.type)
        if tensor.name.startswith("token_embd"):
            unit *= tensor.shape[0] ** 0.5
        for at, times in SCALES[tensor.type]:
            blocks[:, at : at + 2] = np.frombuffer(np.float16(unit * times).tobytes(), np.uint8)
        if tensor.type is GgmlType.Q6_K:
            # Signed scales: as random bytes most would be far apart; these are within a factor of four.
            blocks[:, 192:208] = (blocks[:, 192:208] & 31) + 8
        return blocks.tobytes()


def zipf_bias(shape: ModelShape, exponent: float, random: np.random.Generator) -> np.ndarray:
    """Biases of a layer with which the expert of rank r is chosen about r**-exponent as often as the first.

    Ranks lie in any order. Found by trial: over scores of normal logits, as random router weights give them, each bias
    moves by how far the expert's share is from the wanted one. Groups bound what is possible, and no expert has more
    than 95 % of the tokens.
    """
    share = np.arange(1, shape.experts + 1, dtype=np.float64) ** -exponent
    share = random.permutation(np.minimum(share / share.sum() * shape.experts_used, 0.95))
    score = 1 / (1 + np.exp(-random.standard_normal((512, shape.experts))))
    bias = np.zeros(shape.experts)
    for step in range(80):
        found = chosen(score + bias, shape).mean(0)
        bias += 0.1 * 0.97**step * (np.log(share) - np.log(np.maximum(found, 0.25 / len(score))))
    return (bias - bias.min()).astype(np.float32)  # none below 0, which experts of other groups have


def chosen(ranks: np.ndarray, shape: ModelShape) -> np.ndarray:
    """DeepSeek-V3's choice by ranks (tokens, experts): ones where an expert is used."""
    groups = np.sort(ranks.reshape(len(ranks), shape.groups, -1), 2)[:, :, -2:].sum(2)
    kept = np.argsort(-groups, 1)[:, : shape.groups_used]
    mask = np.zeros(groups.shape, bool)
    np.put_along_axis(mask, kept, True, 1)
    ranks = np.where(mask.repeat(shape.experts // shape.groups, 1), ranks, -np.inf)
    out = np.zeros(ranks.shape)
    np.put_along_axis(out, np.argpartition(-ranks, shape.experts_used - 1, 1)[:, : shape.experts_used], 1.0, 1)
    return out


@cache
def unit_spread(kind: GgmlType) -> float:
    """Standard deviation of a weight whose first scale is 1/1024, times 1024."""
    random = np.random.default_rng(7)
    blocks = random.integers(0, 256, (4096, kind.size), dtype=np.uint8)
    for at, times in SCALES[kind]:
        blocks[:, at : at + 2] = np.frombuffer(np.float16(times / 1024).tobytes(), np.uint8)
    if kind is GgmlType.Q6_K:
        blocks[:, 192:208] = (blocks[:, 192:208] & 31) + 8
    return float(dequantize(blocks.reshape(-1), kind).std()) * 1024


def vocabulary(rows: int) -> dict[str, Typed]:
    """Specials, the 256 byte tokens, one merge, and padding up to `rows`."""
    byte_tokens = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in byte_tokens] + [chr(256 + i) for i in range(256 - len(byte_tokens))]
    tokens = [*SPECIAL, *sorted(letters), "he"]
    types = [3] * len(SPECIAL) + [1] * 257
    while len(tokens) < rows:
        tokens.append(f"[PAD{len(tokens)}]")
        types.append(5)
    return {
        "tokenizer.ggml.model": (ValueType.STRING, "gpt2"),
        "tokenizer.ggml.pre": (ValueType.STRING, "deepseek-v3"),
        "tokenizer.ggml.tokens": (ValueType.ARRAY, ValueType.STRING, tokens),
        "tokenizer.ggml.token_type": (ValueType.ARRAY, ValueType.INT32, types),
        "tokenizer.ggml.merges": (ValueType.ARRAY, ValueType.STRING, ["h e"]),
        "tokenizer.ggml.bos_token_id": (ValueType.UINT32, 0),
        "tokenizer.ggml.eos_token_id": (ValueType.UINT32, 1),
        "tokenizer.ggml.add_bos_token": (ValueType.BOOL, True),
    }


def write_model(path: Path, shape: ModelShape, seed: int = 0, *, llama: bool = False, zipf: float = 0.0) -> None:
    """Writes the file; the tensors are made one after another. `llama`: as llama.cpp wants it; `zipf`: its exponent."""
    kinds = {str: ValueType.STRING, bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32}
    table: Model = q4_k_m(shape, split_kv_b=llama)
    keys: dict[str, Typed] = {k: (kinds[type(v)], v) for k, v in table.metadata.items()}
    blocks = Blocks(seed, shape, zipf)

    def data() -> Iterator[bytes]:
        for tensor in table.tensors.values():
            yield blocks.tensor(tensor)

    rows = [(t.name, t.shape, t.type) for t in table.tensors.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(path, keys | vocabulary(shape.vocab if llama else min(shape.vocab, 1024)), rows, data())


def main() -> int:
    """Writes OUT/model.gguf."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--llama", action="store_true")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--zipf", type=float, default=0.0, help="exponent of the skew in routing; 0 for none")
    args = parser.parse_args()
    shape = wide(args.layers, args.experts) if args.wide else replace(SMALL, layers=args.layers)
    write_model(args.out / "model.gguf", shape, llama=args.llama, zipf=args.zipf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
