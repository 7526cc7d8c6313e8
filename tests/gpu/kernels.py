"""Marlin and dequantisation kernels: right against float64, and how fast: `kernels.py OUT.npz [--module FOLDER]`.

All that the library exports. Exit code 1 when an error is over its limit, when a scale that is wrong on purpose is not
seen, or when a function was not run; the JSON's "violations" and stderr say which. Takes KTransformersOps from the
environment, or from FOLDER (another compiler's build, any torch): same inputs from the same seed, so two runs' outputs
and times can be held side by side with `side_by_side.py`. Shapes are all linear layers of DeepSeek-V3 that the engine
packs for Marlin (4 bits, groups of 64, bfloat16).

A time is that of one call in a CUDA graph of many, over so many copies of the weights that they do not stay in the L2
cache. "of memory" is the bytes that must move once (weights, scales, input, output) over that time, as a share of what
a plain copy kernel of torch's moves on the same card in the same process.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dequant_blocks
import kernel_limits
import numpy as np
import torch

SHAPES = {
    "q_a": (7168, 1536),
    "q_b": (1536, 24576),
    "kv_a": (7168, 576),
    "o": (16384, 7168),
    "dense gate/up": (7168, 18432),
    "dense down": (18432, 7168),
    "shared gate/up": (7168, 2048),
    "shared down": (2048, 7168),
}
ROWS = (1, 16, 512)
GROUP = 64
COLD_BYTES = 200 << 20


def tables() -> tuple[torch.Tensor, torch.Tensor]:
    """Marlin's order of a 16x64 tile's 4-bit weights, and of 64 scales (gptq_marlin, 4 bits)."""
    order: list[int] = []
    for lane in range(32):
        tile = []
        for block in (0, 1):
            for row in (2 * (lane % 4), 2 * (lane % 4) + 1, 2 * (lane % 4 + 4), 2 * (lane % 4 + 4) + 1):
                tile.append(16 * row + lane // 4 + 8 * block)
        order += [p + 256 * j for j in range(4) for p in tile]
    interleaved = np.array(order).reshape(-1, 8)[:, [0, 2, 4, 6, 1, 3, 5, 7]].ravel()
    scales = [i + 8 * j for i in range(8) for j in range(8)]
    return torch.from_numpy(interleaved), torch.tensor(scales)


def packed(q: torch.Tensor) -> torch.Tensor:
    """4-bit weights (k, n) as int32 0..15 in the layout that the kernel reads."""
    k, n = q.shape
    order = tables()[0].to(q.device)
    tiles = q.reshape(k // 16, 16, n // 16, 16).permute(0, 2, 1, 3).reshape(-1, order.numel())[:, order]
    words = tiles.reshape(k // 16, n * 2, 8).to(torch.int64)
    out = sum(words[..., i] << (4 * i) for i in range(8))
    return torch.where(out >= 1 << 31, out - (1 << 32), out).to(torch.int32).contiguous()


def packed_scales(scales: torch.Tensor) -> torch.Tensor:
    """Scales (k/64, n) in the layout that the kernel reads."""
    order = tables()[1].to(scales.device)
    return scales.reshape(-1, 64)[:, order].reshape(scales.shape).contiguous()


def errors(got: torch.Tensor, wanted: torch.Tensor) -> dict[str, float]:
    """Relative L2 over the whole answer, and the widest deviation as a share of the largest element."""
    apart = got.double() - wanted
    return {
        "error": float(apart.norm() / wanted.norm()),
        "worst": float(apart.abs().max() / wanted.abs().max()),
    }


def wrong_scales(scales: torch.Tensor, given: torch.Tensor, exact: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scales wrong on purpose, for each figure of `errors`: the first group's doubled; and just one of them times 4.

    The one is of the column in whose answer the first group counts most. `given` are the inputs in the weights' order.
    """
    row, one = scales.clone(), scales.clone()
    row[0] *= 2
    part = given[:, :GROUP].double() @ exact[:GROUP]
    one[0, part.abs().amax(0).argmax()] *= 4
    return {"error": row, "worst": one}


def timed(calls: list[Callable[[], Any]], rounds: int = 20) -> float:
    """Seconds a call, from a CUDA graph of all of them replayed `rounds` times; the best of three."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    best = float("inf")
    for _ in range(3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        graph.replay()
        begin.record()
        for _ in range(rounds):
            graph.replay()
        end.record()
        torch.cuda.synchronize()
        best = min(best, begin.elapsed_time(end) / 1e3 / rounds / len(calls))
    return best


def copy_rate() -> float:
    """Bytes a second, read and written, of a copy of 2 GiB."""
    source = torch.empty(2 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / timed([lambda: target.copy_(source)])


def marlin(ops: Any, rate: float, *, act_order: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One row a shape and number of tokens, and the outputs."""
    table, outputs = [], {}
    for number, (name, (k, n)) in enumerate(SHAPES.items()):
        random = torch.Generator().manual_seed(number)
        q = torch.randint(0, 16, (k, n), generator=random, dtype=torch.int32).cuda()
        scales = (torch.rand(k // GROUP, n, generator=random) * 0.02 + 0.005).bfloat16().cuda()
        exact = (q - 8).double() * scales.double().repeat_interleave(GROUP, 0)
        weights, order = packed(q), packed_scales(scales)
        none = torch.empty(0, dtype=torch.int32, device="cuda")
        g_idx, perm = none, none
        if act_order:  # the rows of the weight are in the groups' order, perm says which input each belongs to
            perm = torch.randperm(k, generator=random).to(torch.int32).cuda()
            g_idx = (torch.arange(k, dtype=torch.int32) // GROUP).cuda()
        copies = min(64, max(1, -(-COLD_BYTES // (k * n // 2))))
        sets = [(weights.clone(), order.clone()) for _ in range(copies)]
        space = torch.zeros(n // 64 * 16, dtype=torch.int32, device="cuda")
        for m in ROWS:
            x = torch.randn(m, k, generator=random).bfloat16().cuda()

            def call(w: Any, s: Any, x: Any = x, m: int = m, more: Any = (g_idx, perm, space)) -> Any:
                return ops.gptq_marlin_gemm(x, w, s, *more, 4, m, n, k, True)  # noqa: B023

            got = call(*sets[0])
            given = x[:, perm.long()] if act_order else x
            wanted = given.double() @ exact
            wrong = wrong_scales(scales, given, exact).items()
            control = {at: errors(call(weights, packed_scales(s)), wanted)[at] for at, s in wrong}
            seconds = timed([lambda w=w, s=s: call(w, s) for w, s in sets])
            moved = k * n // 2 + scales.numel() * 2 + 2 * m * (k + n)
            outputs[f"{'act ' if act_order else ''}{name} {m}"] = got.view(torch.int16).cpu().numpy()
            table.append(
                {"what": name, "k": k, "n": n, "m": m, "act_order": act_order, "control": control}
                | errors(got, wanted)
                | {"us": seconds * 1e6, "of_memory": moved / seconds / rate, "tflops": 2 * m * n * k / seconds / 1e12}
            )
        del q, exact, sets
        torch.cuda.empty_cache()
    return table, outputs


def dequant(ops: Any, rate: float) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The weight of o_proj (16384 x 7168) in each type: error on a sample, and with one scale a bit wrong; times."""
    table, outputs = [], {}
    for name, kind in dequant_blocks.KINDS.items():
        blocks = dequant_blocks.random_blocks(kind, 16384 * 7168 // kind.elements)
        function = getattr(ops, f"dequantize_{name}")

        def call(data: torch.Tensor, size: int = kind.size, function: Any = function) -> torch.Tensor:
            return function(data, size, torch.device("cuda:0"))

        data = torch.from_numpy(blocks.reshape(-1).view(np.int8))
        data = data if name == "q8_0" else data.cuda()  # q8_0 reads its scales on the CPU
        got = call(data)
        at = dequant_blocks.sample(len(blocks))
        wanted = kind.reference(blocks[at])
        seen = got.reshape(len(blocks), -1)[torch.from_numpy(at).cuda()].double().cpu().numpy()
        wrong = torch.from_numpy(dequant_blocks.corrupted(kind, blocks[at]).reshape(-1).view(np.int8))
        control = call(wrong).double().cpu().numpy().reshape(len(at), -1)
        outputs[f"dequant {name}"] = got.reshape(-1)[: 1 << 24].cpu().numpy()
        table.append(
            {"what": f"dequantize_{name}", "error": dequant_blocks.error(seen, wanted)}
            | {"control": {"error": dequant_blocks.error(control, wanted)}}
            | dequant_times(lambda: call(data), data, got, rate)  # noqa: B023
        )
    return table, outputs


def dequant_times(
    call: Callable[[], Any], data: torch.Tensor, got: torch.Tensor, rate: float
) -> dict[str, float | None]:
    """Microseconds of the whole call and of the kernel in it: the call less its copy and its zeroing.

    The kernel's are None where the data come from the CPU: that copy takes far longer than the kernel.
    """
    whole = waited(call)
    if not data.is_cuda:
        return {"us": None, "call_us": whole * 1e6, "of_memory": None}
    seconds = whole - waited(lambda: (torch.empty_like(data).copy_(data), torch.zeros_like(got)))
    moved = data.numel() + 4 * got.numel()
    return {"us": seconds * 1e6, "call_us": whole * 1e6, "of_memory": moved / seconds / rate}


def waited(call: Callable[[], Any]) -> float:
    """Seconds of a call that waits for the card itself, the best of twenty."""
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        best = min(best, begin.elapsed_time(end) / 1e3)
    return best


def main() -> int:
    """Writes the outputs, prints the table as JSON; 1 where it violates `kernel_limits`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--module", type=Path, help="folder with another KTransformersOps")
    args = parser.parse_args()
    if args.module:
        sys.path.insert(0, str(args.module))
    import KTransformersOps as ops  # noqa: PLC0415  (which one is the question)

    torch.set_grad_enabled(False)
    rate = copy_rate()
    rows, outputs = marlin(ops, rate, act_order=False)
    more, act = marlin(ops, rate, act_order=True)
    last, dequantised = dequant(ops, rate)
    np.savez(args.out, **{name.replace("/", "_"): value for name, value in (outputs | act | dequantised).items()})
    rows += more + last
    said = kernel_limits.violations(rows) + kernel_limits.untested(dir(ops), rows)
    where = {"module": ops.__file__, "torch": torch.__version__, "gpu": torch.cuda.get_device_name()}
    sys.stdout.write(json.dumps(where | {"copy_rate": rate, "violations": said, "rows": rows}) + "\n")
    sys.stderr.write("".join(f"kernels.py: {each}\n" for each in said))
    return 1 if said else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the slimmed tree's unused libraries cannot run their destructors
