"""How fast the kernels of a decode step are: `decode_rates.py LIBRARY OUT.json [--variants] [--types Q4_K,Q6_K]`.

Rates are GB/s (10**9 bytes) of weights that no cache holds, from a CUDA graph of many calls. With `--variants` LIBRARY
was built with -DLEVIATHAN_VARIANTS, and each is timed: 1000 * words + 100 * planes + 10 * rows + warps of a row
(`Shape` in gguf_decode.cu). What is known is written after each step.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from decode import CUDA, HEADS, Pool, values, weight
from experts import CHOICES, HIDDEN, WIDTH
from kernels import copy_rate, timed

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators.kernels.decode import Choice, DecodeKernels, Matrix

VARIANTS = (4211, 4111, 4221, 4121, 4212, 4214, 2211, 2221, 2111, 1211, 1221, 1111)
# Products of DeepSeek-V3's attention and shared experts, and an eighth of lm_head: rows, columns.
SHAPES = {
    "q_a+kv_a": (2112, 7168),
    "q_b": (24576, 1536),
    "o": (7168, 16384),
    "shared down": (7168, 2048),
    "head/8": (16160, 7168),
}


def rates(kernels: DecodeKernels, pool: Pool) -> dict[str, Any]:
    """One token's eight experts, then products of other shapes: microseconds and GB/s."""
    width, vector = pool.width, kernels.vector(pool.hidden, CUDA)
    kernels.quantise(values(pool.hidden, 4), vector)
    inner, out = kernels.vector(width, CUDA, CHOICES), torch.zeros(pool.hidden, device=CUDA)
    scales = torch.rand(CHOICES, device=CUDA)
    turns = [(torch.arange(8) + 8 * i).remainder(pool.slots).int().to(CUDA) for i in range(pool.slots // 8)]
    up = timed([lambda s=s: kernels.gate_up(pool.at, s, vector, inner, CHOICES, width, pool.hidden) for s in turns])
    down = timed([lambda s=s: kernels.down(pool.at, s, scales, inner, out, width) for s in turns])
    two = turns[0].clone()
    two[2:] = -1
    few = timed([lambda: kernels.gate_up(pool.at, two, vector, inner, CHOICES, width, pool.hidden)] * 4)
    slots = [torch.full((1,), n, dtype=torch.int32, device=CUDA) for n in range(pool.slots)]
    one = timed([lambda s=s: kernels.gate_up(pool.at, s, vector, inner, 1, width, pool.hidden) for s in slots])
    return {
        "gate_up": _rate(up, 16 * pool.bytes),
        "down": _rate(down, 8 * pool.bytes),
        "gate_up of two experts, in cache, us": round(few * 1e6, 1),
        "gate_up of one": _rate(one, 2 * pool.bytes),
    }


def product_rates(kernels: DecodeKernels, kind: GgmlType) -> dict[str, Any]:
    """The products of a layer."""
    table = {}
    for name, (rows, cols) in SHAPES.items():
        copies = max(2, (300 << 20) // (rows * cols * kind.size // kind.block))
        one = weight(kind, rows, cols)
        several = [Matrix(one.data.clone(), kind, rows, cols) for _ in range(copies)]
        vector, out = kernels.vector(cols, CUDA), torch.zeros(rows, device=CUDA)
        kernels.quantise(values(cols, 4), vector)
        table[name] = _rate(timed([partial(kernels.multiply, m, vector, out) for m in several]), one.data.numel())
    return table


def step_times(kernels: DecodeKernels) -> dict[str, float]:
    """Microseconds of what stands between the products."""
    x, norm, vector = values(HIDDEN, 5), values(HIDDEN, 6), kernels.vector(HIDDEN, CUDA)
    given, angles = torch.randn(2112, device=CUDA), (values(64, 1), values(64, 2))
    cache = torch.zeros(8, 64, 1, 576, dtype=torch.bfloat16, device=CUDA)
    place, table = torch.tensor([150], device=CUDA), torch.arange(8, dtype=torch.int32, device=CUDA)
    kv_b = [torch.randn(128 * 256, 512, device=CUDA).bfloat16() for _ in range(4)]
    query, absorbed, attended = torch.randn(128 * 192, device=CUDA), values(128 * 576, 1), values(128 * 512, 2)
    low, wide, normed = kernels.vector(1536, CUDA), kernels.vector(128 * 128, CUDA), values(HIDDEN, 1)
    gates, bias = [torch.randn(256, HIDDEN, device=CUDA) for _ in range(8)], torch.zeros(256, device=CUDA)
    slots, scales = torch.zeros(8, dtype=torch.int32, device=CUDA), torch.zeros(8, device=CUDA)
    host = (torch.zeros(8, dtype=torch.int64).pin_memory(), torch.zeros(8).pin_memory())
    left = torch.zeros(HIDDEN, dtype=torch.bfloat16).pin_memory()
    uses, here = torch.zeros(256, dtype=torch.int64, device=CUDA), torch.zeros(256, dtype=torch.int32, device=CUDA)
    how, scores, routed = (
        Choice(256, 8, 4, 8, True, 2.5),
        torch.zeros(256, device=CUDA),
        torch.randn(HIDDEN, device=CUDA),
    )
    norms = (values(1536, 1), values(512, 2))
    calls: dict[str, list[Callable[[], None]]] = {
        "norm": [lambda: kernels.norm(x, norm, 1e-6, vector, normed)] * 8,
        "norm, to main memory too": [lambda: kernels.norm(x, norm, 1e-6, vector, normed, left)] * 8,
        "latents": [lambda: kernels.latents(given, norms, 1e-6, angles, place, table, cache, low)] * 8,
        "absorb": [lambda w=w: kernels.absorb(query, w, HEADS, angles, absorbed) for w in kv_b],
        "values": [lambda w=w: kernels.values(attended, w, HEADS, wide) for w in kv_b],
        "router (two kernels)": [
            lambda g=g: kernels.router(x, g, bias, how, scores, here, slots, scales, host, uses) for g in gates
        ],
        "layer_sum": [lambda: kernels.layer_sum(x, routed, None, normed)] * 8,
        "layer_sum, from main memory": [lambda: kernels.layer_sum(x, routed, left, normed)] * 8,
    }
    return {name: round(timed(work) * 1e6, 2) for name, work in calls.items()}


def _rate(seconds: float, moved: int) -> str:
    return f"{seconds * 1e6:.1f} us, {moved / seconds / 1e9:.0f} GB/s"


def main() -> int:
    """Times everything that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--types", default="Q4_K,Q6_K,Q5_K,Q8_0,Q3_K,Q2_K,IQ4_XS")
    args = parser.parse_args()
    table: dict[str, Any] = {"device": torch.cuda.get_device_name(0)}

    def note(title: str, found: Any) -> None:
        table[title] = found
        sys.stdout.write(f"{title}: {json.dumps(found)}\n")
        sys.stdout.flush()
        args.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")

    note("copy, GB/s", round(copy_rate() / 1e9))
    note("steps, us", step_times(DecodeKernels(args.library)))
    for name in args.types.split(","):
        kind = GgmlType[name]
        pool = Pool(kind, WIDTH, HIDDEN, 40)
        for variant in VARIANTS if args.variants else (0,):
            planes = variant // 100 % 10 or 2
            kernels = DecodeKernels(args.library, planes=planes, variant=variant)
            note(f"{name} {variant}", rates(kernels, pool) | product_rates(kernels, kind))
        del pool
        torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
