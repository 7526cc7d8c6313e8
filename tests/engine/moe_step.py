"""One MoE layer on the CPU extension against torch: `python3 moe_step.py HIDDEN WIDTH EXPERTS PER_TOKEN TOKENS REPEAT`.

Prints JSON: the relative L2 error against the same weights, dequantised, in float64, with activations rounded to 8 bits
as the engine rounds them, and without; as a control, the error against the weights of other experts; and the median
time of a step. The build is chosen by LEVIATHAN_MARCH.
"""

import json
import statistics
import sys
import time
from dataclasses import dataclass

import gguf
import numpy as np
import torch

Q4_K, Q6_K = gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q6_K
BF16 = 30  # ggml's number of the activations' type


@dataclass(frozen=True)
class Layer:
    """Quantised weights of one layer: (experts, rows, bytes a row)."""

    gate: np.ndarray
    up: np.ndarray
    down: np.ndarray


def blocks(random: np.random.Generator, kind: gguf.GGMLQuantizationType, *shape: int) -> np.ndarray:
    """Random blocks with scales that keep weights near 0.03: 144 bytes (Q4_K) or 210 (Q6_K) for 256 values."""
    size = 144 if kind == Q4_K else 210
    raw = random.integers(0, 256, (int(np.prod(shape)) // 256, size), dtype=np.uint8)
    if kind == Q4_K:
        raw[:, 0:2] = np.full((len(raw), 1), 0.0002, np.float16).view(np.uint8)
        raw[:, 2:4] = np.full((len(raw), 1), 0.0015, np.float16).view(np.uint8)
    else:
        raw[:, 192:208] = random.integers(-30, 30, (len(raw), 16), dtype=np.int8).view(np.uint8)
        raw[:, 208:210] = np.full((len(raw), 1), 0.0001, np.float16).view(np.uint8)
    return raw.reshape(*shape[:-1], shape[-1] // 256 * size)


def q8_k(x: torch.Tensor) -> torch.Tensor:
    """Rounds to 8 bits as ggml's quantize_row_q8_K does: the largest of each 256 values, sign and all, becomes -127."""
    block = x.reshape(-1, 256)
    largest = block.gather(1, block.abs().argmax(dim=1, keepdim=True))
    scale = torch.where(largest == 0, 1.0, largest / -127)
    return ((block / scale).round().clamp(max=127) * scale).reshape(x.shape)


def reference(layer: Layer, x: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor, rounded: bool) -> torch.Tensor:
    """sum over chosen experts of weight · down(silu(gate x) · up x), in float64.

    With `rounded`, activations are rounded to 8 bits where the engine does it: before gate and up, and before down.
    """
    out = torch.zeros_like(x, dtype=torch.float64)
    quantise = q8_k if rounded else torch.clone
    x = quantise(x.double())
    for expert in ids.unique().tolist():
        parts = [(layer.gate, Q4_K), (layer.up, Q4_K), (layer.down, Q6_K)]
        gate, up, down = (torch.from_numpy(gguf.dequantize(w[expert], kind)).double() for w, kind in parts)
        token, slot = torch.where(ids == expert)
        inner = torch.nn.functional.silu(x[token] @ gate.T) * (x[token] @ up.T)
        out.index_add_(0, token, (quantise(inner) @ down.T) * weights[token, slot].double().unsqueeze(1))
    return out


def main(hidden: int, width: int, experts: int, per_token: int, tokens: int, repeat: int) -> dict[str, object]:
    """Compute, compare, time; all sizes in elements, `repeat` in steps."""
    import cpuinfer_ext  # noqa: PLC0415  (LEVIATHAN_MARCH decides what this loads)
    from cpuinfer_ext.moe import MOE, MOEConfig  # noqa: PLC0415

    random = np.random.default_rng(7)
    layer = Layer(
        blocks(random, Q4_K, experts, width, hidden),
        blocks(random, Q4_K, experts, width, hidden),
        blocks(random, Q6_K, experts, hidden, width),
    )
    pointers = [w.ctypes.data for w in (layer.gate, layer.up, layer.down)]
    types = [Q4_K.value, Q4_K.value, Q6_K.value]
    config = MOEConfig(experts, per_token, hidden, width, 64, 10, 1024, *pointers, *types, BF16)
    moe, threads = MOE(config), cpuinfer_ext.CPUInfer(3)

    torch.manual_seed(7)
    x = torch.randn(tokens, hidden).bfloat16().contiguous()
    ids = torch.stack([torch.randperm(experts)[:per_token] for _ in range(tokens)]).contiguous()
    weights = torch.rand(tokens, per_token).contiguous()
    out = torch.empty_like(x)
    task = moe.forward(tokens, per_token, ids.data_ptr(), weights.data_ptr(), x.data_ptr(), out.data_ptr())
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        threads.submit(task)
        threads.sync()
        times.append(time.perf_counter() - begin)

    def error(of: Layer, rounded: bool) -> float:
        expected = reference(of, x, ids, weights, rounded)
        return float((out.double() - expected).norm() / expected.norm())

    swapped = Layer(*(np.roll(w, 1, axis=0) for w in (layer.gate, layer.up, layer.down)))
    return {
        "march": cpuinfer_ext.march,
        "error": error(layer, True),
        "error_exact": error(layer, False),
        "control": error(swapped, True),
        "milliseconds": round(statistics.median(times) * 1e3, 3),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*map(int, sys.argv[1:7]))) + "\n")
