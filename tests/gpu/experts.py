"""The experts' kernels on a GPU: right against float64, and how fast: `experts.py LIBRARY OUT.json`.

Every block type and both shapes of DeepSeek-V3's experts. Exit code 1 when an answer is wrong; the JSON's "violations"
and stderr say which. Rates are in GB/s (10**9 bytes): "dequantise" of bytes read and written, as a share of a copy's;
"decode" of weights read, eight experts a token that no cache holds.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dequant_blocks
import numpy as np
import torch
from kernels import copy_rate, timed

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators.kernels.library import Library, Slots
from leviathan_operators.reference.expert_layer import route
from leviathan_operators.reference.gguf_blocks import KINDS, dequantise

WIDTH, HIDDEN, CHOICES = 2048, 7168, 8
# Sums of 7168 products in float32, in another order than the reference's.
LIMIT = 2e-6
violations: list[str] = []


def check(ok: bool, what: str) -> None:
    """Notes a wrong answer."""
    if not ok:
        violations.append(what)
        sys.stderr.write(f"wrong: {what}\n")


def random_blocks(kind: GgmlType, count: int, seed: int = 0) -> torch.Tensor:
    """`count` blocks as one row of bytes; another seed turns the same blocks round."""
    raw = dequant_blocks.random_blocks(dequant_blocks.KINDS[kind.name.lower()], min(count, 1 << 16))
    out = np.tile(raw, (-(-count // len(raw)), 1))[:count]
    return torch.from_numpy(np.roll(out, seed, axis=0).reshape(-1))


def wanted(kind: GgmlType, blocks: torch.Tensor) -> torch.Tensor:
    """float64 elements by the definition that tests/gpu/dequant_blocks.py writes out element by element."""
    raw = blocks.numpy().reshape(-1, kind.size)
    return torch.from_numpy(dequant_blocks.KINDS[kind.name.lower()].reference(raw).reshape(-1))


def dequantise_row(library: Library, kind: GgmlType, base: torch.Tensor, rate: float) -> dict[str, Any]:
    """Equal bits, a wrong scale seen, and the rate over weights that no cache holds."""
    elements = WIDTH * HIDDEN
    blocks = random_blocks(kind, elements // kind.block)
    exact = base.float().bfloat16()
    plain = dequantise(blocks, kind, (elements,)).bfloat16()
    check(torch.equal(exact, plain), f"{kind.name}: the two references differ")
    device = blocks.cuda()
    out = torch.empty(WIDTH, HIDDEN, dtype=torch.bfloat16, device="cuda")
    library.dequantise(kind, device.data_ptr(), out)
    check(torch.equal(out.flatten().cpu(), exact), f"dequantise {kind.name}: bits differ")
    definition = dequant_blocks.KINDS[kind.name.lower()]
    wrong = dequant_blocks.corrupted(definition, blocks.numpy().reshape(-1, kind.size))
    bad = torch.from_numpy(wrong.reshape(-1)).cuda()
    library.dequantise(kind, bad.data_ptr(), out)
    check(not torch.equal(out.flatten().cpu(), exact), f"dequantise {kind.name}: a wrong scale is not seen")
    copies = [device.clone() for _ in range(12)]
    outs = [torch.empty_like(out) for _ in range(6)]
    calls: list[Callable[[], Any]] = [
        lambda b=b, o=outs[i % 6]: library.dequantise(kind, b.data_ptr(), o) for i, b in enumerate(copies)
    ]
    seconds = timed(calls)
    moved = device.numel() + 2 * elements
    return {"GB/s": moved / seconds / 1e9, "of_copy": moved / seconds / rate, "us": seconds * 1e6}


def decode_row(library: Library, kind: GgmlType, base: torch.Tensor) -> dict[str, Any]:
    """gate and up, then down, for tokens with a slot missing here and there; equal bits each time; rates."""
    slots_in_pool = 40
    expert = WIDTH * HIDDEN // kind.block * kind.size
    gate, up, down = (
        torch.stack([random_blocks(kind, WIDTH * HIDDEN // kind.block, 17 * i + s) for s in range(4)]) for i in range(3)
    )
    memory = torch.cat([gate, up, down], 1).cuda().repeat(slots_in_pool // 4, 1).contiguous()
    at = memory.data_ptr()
    pool = Slots(at, at + expert, at + 2 * expert, 3 * expert, kind, kind)
    turned = base.cuda()
    exact = [[turned.roll((17 * i + s) * kind.block) for s in range(4)] for i in range(3)]
    random = torch.Generator().manual_seed(kind.value)
    worst = {"gate_up": 0.0, "down": 0.0}
    for tokens in (1, 3):
        x = torch.randn(tokens, HIDDEN, generator=random).bfloat16()
        slots = torch.randint(0, slots_in_pool, (tokens, CHOICES), generator=random, dtype=torch.int32)
        slots[:, 2] = -1
        weights = torch.rand(tokens, CHOICES, generator=random)
        hidden = torch.full((tokens, CHOICES, WIDTH), float("nan"), device="cuda")
        out = torch.full((tokens, HIDDEN), float("nan"), device="cuda")
        given = (x.cuda(), slots.cuda(), weights.cuda())

        def step(given: Any = given, hidden: Any = hidden, out: Any = out) -> None:
            library.gate_up(pool, given[1], given[0], hidden)
            library.down(pool, given[1], given[2], hidden, out)

        step()
        inner, answer = reference(exact, x, slots, weights)
        here = slots >= 0
        worst["gate_up"] = max(worst["gate_up"], distance(hidden.cpu()[here], inner[here]))
        worst["down"] = max(worst["down"], distance(out.cpu(), answer))
        check(bool(hidden[:, 2].isnan().all()), f"gate_up {kind.name}: a slot of -1 was written")
        first = out.clone()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        out.zero_()
        graph.replay()
        check(torch.equal(out, first), f"{kind.name}: a graph's replay gives other bits")
    for name, error in worst.items():
        check(error < LIMIT, f"{name} {kind.name}: relative error {error:.2e}, limit {LIMIT:.0e}")
    return {"error": worst} | decode_rates(library, pool, expert, slots_in_pool)


def decode_rates(library: Library, pool: Slots, expert: int, slots: int) -> dict[str, Any]:
    """GB/s of one token's eight experts."""
    x = torch.randn(1, HIDDEN, device="cuda").bfloat16()
    hidden = torch.zeros(1, CHOICES, WIDTH, device="cuda")
    out = torch.zeros(1, HIDDEN, device="cuda")
    weights = torch.rand(1, CHOICES, device="cuda")
    turns = [
        (torch.arange(8, dtype=torch.int32) + 8 * i).remainder(slots).reshape(1, 8).cuda() for i in range(slots // 8)
    ]
    none = torch.full((1, CHOICES), -1, dtype=torch.int32, device="cuda")
    up = timed([lambda s=s: library.gate_up(pool, s, x, hidden) for s in turns])
    down = timed([lambda s=s: library.down(pool, s, weights, hidden, out) for s in turns])
    idle = timed([lambda: library.gate_up(pool, none, x, hidden)] * 4)
    return {
        "gate_up_us": up * 1e6,
        "gate_up_GB/s": 16 * expert / up / 1e9,
        "down_us": down * 1e6,
        "down_GB/s": 8 * expert / down / 1e9,
        "gate_up_all_absent_us": idle * 1e6,
    }


def reference(
    exact: list[list[torch.Tensor]], x: torch.Tensor, slots: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """float64: silu(gate x) * (up x) of each pair, and the weighted sum; slot s holds expert s % 4 of `exact`."""
    inner = torch.zeros(*slots.shape, WIDTH, dtype=torch.float64)
    answer = torch.zeros(len(x), HIDDEN, dtype=torch.float64)
    for token, row in enumerate(slots.tolist()):
        given = x[token].double().cuda()
        for choice, slot in enumerate(row):
            if slot < 0:
                continue
            gate, up, down = (weight[slot % 4] for weight in exact)
            value = gate.view(WIDTH, HIDDEN) @ given
            value = torch.nn.functional.silu(value) * (up.view(WIDTH, HIDDEN) @ given)
            inner[token, choice] = value.cpu()
            answer[token] += (down.view(HIDDEN, WIDTH) @ value).cpu() * float(weights[token, choice])
    return inner, answer


def distance(got: torch.Tensor, exact: torch.Tensor) -> float:
    """Relative L2."""
    return float((got.double() - exact).norm() / exact.norm())


def small(library: Library) -> None:
    """route, silu_times, add_scaled against torch."""
    random = torch.Generator().manual_seed(5)
    table = torch.randint(-1, 60, (256,), generator=random, dtype=torch.int32)
    ids = torch.stack([torch.randperm(256, generator=random)[:8] for _ in range(70)])
    slots, cpu = (
        torch.empty(70, 8, dtype=torch.int32, device="cuda"),
        torch.empty(70, 8, dtype=torch.int64, device="cuda"),
    )
    uses = torch.zeros(256, dtype=torch.int64, device="cuda")
    library.route(ids.cuda(), table.cuda(), slots, cpu, uses)
    plain = route(ids, table)
    check(torch.equal(slots.cpu(), plain[0]) and torch.equal(cpu.cpu(), plain[1]), "route")
    check(torch.equal(uses.cpu(), torch.bincount(ids.flatten(), minlength=256)), "route: uses")
    both = torch.randn(130, 2 * WIDTH, generator=random).bfloat16().cuda()
    out = torch.empty(130, WIDTH, dtype=torch.bfloat16, device="cuda")
    library.silu_times(both, out)
    exact = torch.nn.functional.silu(both[:, :WIDTH].double()) * both[:, WIDTH:].double()
    check(distance(out, exact) < 2**-8, "silu_times")
    total = torch.randn(200, HIDDEN, generator=random).cuda()
    tokens = torch.randperm(200, generator=random)[:130].cuda()
    rows, scales = (
        torch.randn(130, HIDDEN, generator=random).bfloat16().cuda(),
        torch.rand(130, generator=random).cuda(),
    )
    exact = total.double().index_add(0, tokens, rows.double() * scales.double()[:, None])
    library.add_scaled(rows, tokens, scales, total)
    check(distance(total, exact) < 1e-6, "add_scaled")


def main(library_file: Path, out: Path) -> int:
    """Runs everything; the exit code."""
    library = Library(library_file)
    rate = copy_rate()
    small(library)
    table: dict[str, Any] = {"copy_GB/s": rate / 1e9, "device": torch.cuda.get_device_name(0), "types": {}}
    for kind in KINDS:
        base = wanted(kind, random_blocks(kind, WIDTH * HIDDEN // kind.block))
        table["types"][kind.name] = {
            "dequantise": dequantise_row(library, kind, base, rate),
            "decode": decode_row(library, kind, base),
        }
        sys.stderr.write(f"{kind.name}: {table['types'][kind.name]}\n")
        torch.cuda.empty_cache()
    table["violations"] = violations
    out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
