"""One MoE layer on the CPU extension, judged: moe_step.py HIDDEN WIDTH EXPERTS PER_TOKEN TOKENS REPEAT [ABSENT].

Prints JSON: the relative L2 error against the same weights, dequantised, in float64, with activations rounded to 8 bits
as the engine rounds them, and without; as a control, the error against the weights of other experts; whether all is
zero; and the median time of a step. The last ABSENT experts of each token are given as -1. The build is chosen by
LEVIATHAN_MARCH.
"""

import json
import statistics
import sys
import time

import numpy as np
from moe_layer import BF16, Q4_K, Q6_K, Layer, distance, from_bf16, random_layer, reference, to_bf16


def main(
    hidden: int, width: int, experts: int, per_token: int, tokens: int, repeat: int, absent: int = 0
) -> dict[str, object]:
    """Compute, compare, time; all sizes in elements, `repeat` in steps."""
    import cpuinfer_ext  # noqa: PLC0415  (LEVIATHAN_MARCH decides what this loads)
    from cpuinfer_ext.moe import MOE, MOEConfig  # noqa: PLC0415

    layer = random_layer(7, hidden, width, experts)
    pointers = [w.ctypes.data for w in (layer.gate, layer.up, layer.down)]
    types = [Q4_K.value, Q4_K.value, Q6_K.value]
    config = MOEConfig(experts, per_token, hidden, width, 16, 10, 1024, *pointers, *types, BF16)
    moe, threads = MOE(config), cpuinfer_ext.CPUInfer(3)

    random = np.random.default_rng(7)
    x = to_bf16(random.standard_normal((tokens, hidden), np.float32))
    ids = np.stack([random.permutation(experts)[:per_token] for _ in range(tokens)])
    weights = random.random((tokens, per_token), np.float32)
    given = ids.copy()
    given[:, per_token - absent :] = -1
    out = np.full_like(x, 7)
    task = moe.forward(tokens, per_token, *(each.ctypes.data for each in (given, weights, x, out)))
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        threads.submit(task)
        threads.sync()
        times.append(time.perf_counter() - begin)

    def error(of: Layer, rounded: bool) -> float:
        return distance(from_bf16(out), reference(of, from_bf16(x), ids, weights * (given >= 0), rounded))

    swapped = Layer(*(np.roll(w, 1, axis=0) for w in (layer.gate, layer.up, layer.down)))
    return {
        "march": cpuinfer_ext.march,
        "error": error(layer, True),
        "error_exact": error(layer, False),
        "control": error(swapped, True),
        "zero": bool((out == 0).all()),
        "milliseconds": round(statistics.median(times) * 1e3, 3),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*map(int, sys.argv[1:8]))) + "\n")
