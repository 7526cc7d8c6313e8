"""The kernels of a decode step on a GPU: right against float64: `decode.py LIBRARY OUT.json [--quick]`.

Every block type at DeepSeek-V3's widths. Exit code 1 when an answer is wrong; the JSON's "violations" and stderr say
which. `--quick` takes small weights: for compute-sanitizer. decode_rates.py times the kernels.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from experts import CHOICES, HIDDEN, distance, random_blocks, wanted

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators.kernels.decode import Choice, DecodeKernels, Heads, Matrix, vector_bytes
from leviathan_operators.kernels.library import Slots
from leviathan_operators.reference.gguf_blocks import KINDS
from leviathan_operators.reference.plain_decode import PlainDecode, quantised, read_back

# Float32 sums of up to 7,168 products in another order than the reference's.
LIMIT = 3e-6
# Half a step of 16 bits for each of 32 values, of which one alone may be as large as the group: sqrt(32) / 65024.
ROUNDED = 8.8e-5
HEADS = Heads(128, 128, 64, 128, 512)
violations: list[str] = []
PLAIN = PlainDecode()
CUDA = torch.device("cuda")


def check(ok: bool, what: str) -> None:
    """Notes a wrong answer."""
    if not ok:
        violations.append(what)
        sys.stderr.write(f"wrong: {what}\n")


def weight(kind: GgmlType, rows: int, cols: int, seed: int = 0) -> Matrix:
    """A weight of random blocks."""
    return Matrix(random_blocks(kind, rows * cols // kind.block, seed).to(CUDA), kind, rows, cols)


def values(cols: int, seed: int) -> torch.Tensor:
    """bfloat16 values with an outlier, as hidden states have them."""
    out = torch.randn(cols, generator=torch.Generator().manual_seed(seed))
    out[7] = 60.0
    return out.bfloat16().to(CUDA)


def products(kernels: DecodeKernels, kind: GgmlType, rows: int, cols: int) -> None:
    """Both ways of `multiply`, two weights in one call, base added, the same bits from a captured graph."""
    first, second = weight(kind, rows, cols), weight(kind, 40, cols, 3)
    exact = torch.cat([wanted(kind, m.data.cpu()).to(CUDA).view(m.rows, cols) for m in (first, second)])
    x, vector, base = values(cols, 1), kernels.vector(cols, CUDA), values(rows + 40, 2)
    kernels.quantise(x, vector)
    check(torch.equal(vector, quantised(x)), f"quantise: other bytes than the reference's, {cols}")
    right = exact @ read_back(vector, cols).double()
    for few in (0, 4211, 4221, 4212):
        kernels.variant = few
        out, summed = torch.full((rows + 40,), torch.nan, device=CUDA), torch.empty_like(base)
        kernels.multiply(first, vector, out, None, second)
        kernels.multiply(first, vector, summed, base, second)
        error = distance(out, right)
        check(error < LIMIT, f"multiply {kind.name} {few}: {error:.2e}, limit {LIMIT:.0e}")
        check(distance(summed, right + base.double()) < 2**-8, f"multiply {kind.name} {few}: base")
        again = replayed(partial(kernels.multiply, first, vector, out, None, second), out)
        check(again, f"multiply {kind.name} {few}: a graph's replay gives other bits")
    kernels.variant = 0
    bad = Matrix(first.data.clone(), kind, rows, cols)
    bad.data[: kind.size] = bad.data[kind.size : 2 * kind.size].flip(0)
    kernels.multiply(bad, vector, out[:rows])
    check(not torch.allclose(out[0].double(), right[0], rtol=1e-3), f"multiply {kind.name}: a wrong block is not seen")


def replayed(call: Callable[[], None], out: torch.Tensor) -> bool:
    """Whether a captured call gives the bits of a plain one."""
    call()
    first = out.clone()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    out.zero_()
    graph.replay()
    torch.cuda.synchronize()
    return torch.equal(out, first)


class Pool:
    """Experts of one type in slots that no cache holds."""

    def __init__(self, kind: GgmlType, width: int, hidden: int, slots: int) -> None:
        count = width * hidden // kind.block
        parts = [torch.stack([random_blocks(kind, count, 17 * i + s) for s in range(4)]) for i in range(3)]
        self.kind, self.slots, self.bytes = kind, slots, count * kind.size
        self.memory = torch.cat(parts, 1).to(CUDA).repeat(slots // 4, 1).contiguous()
        at = self.memory.data_ptr()
        self.at = Slots(at, at + self.bytes, at + 2 * self.bytes, 3 * self.bytes, kind, kind)
        self.width, self.hidden = width, hidden

    @cache  # noqa: B019  (a pool ends with its check)
    def floats(self, slot: int) -> list[torch.Tensor]:
        """gate, up and down of a slot in float64."""
        raw = self.memory[slot].view(3, -1).cpu()
        shapes = ((self.width, self.hidden), (self.width, self.hidden), (self.hidden, self.width))
        return [wanted(self.kind, part).to(CUDA).view(shape) for part, shape in zip(raw, shapes, strict=True)]


def experts(kernels: DecodeKernels, pool: Pool) -> None:
    """Eight choices, one of them elsewhere."""
    kind, width = pool.kind, pool.width
    slots = torch.tensor([3, 1, -1, 2, 0, 3, 2, 1], dtype=torch.int32, device=CUDA)
    scales = torch.rand(CHOICES, generator=torch.Generator().manual_seed(1)).to(CUDA)
    vector, size = kernels.vector(pool.hidden, CUDA), vector_bytes(width, kernels.planes)
    kernels.quantise(values(pool.hidden, 4), vector)
    inner, out = kernels.vector(width, CUDA, CHOICES), torch.ones(pool.hidden, device=CUDA)
    inner.fill_(77)
    kernels.gate_up(pool.at, slots, vector, inner, CHOICES, width, pool.hidden)
    check(bool((inner[2 * size : 3 * size] == 77).all()), f"gate_up {kind.name}: a slot of -1 was written")
    kernels.down(pool.at, slots, scales, inner, out, width)
    x, answer = read_back(vector, pool.hidden).double(), torch.ones(pool.hidden, dtype=torch.float64, device=CUDA)
    worst = 0.0
    for choice, slot in enumerate(slots.tolist()):
        if slot < 0:
            continue
        gate, up, down = pool.floats(slot)
        value = torch.nn.functional.silu(gate @ x) * (up @ x)
        kept = read_back(inner[choice * size : (choice + 1) * size], width).double()
        worst = max(worst, distance(kept, value))
        answer += scales[choice].double() * (down @ kept)
    check(worst < ROUNDED, f"gate_up {kind.name}: {worst:.2e}, limit {ROUNDED:.0e}")
    error = distance(out, answer)
    check(error < LIMIT, f"down {kind.name}: {error:.2e}, limit {LIMIT:.0e}")


def steps(kernels: DecodeKernels) -> None:
    """Norm, latents, both halves of kv_b, router and sum against the plain ones."""
    random = torch.Generator().manual_seed(9)

    def halves(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return (torch.randn(*shape, generator=random) * scale).bfloat16().to(CUDA)

    def both(
        name: str, call: Callable[[Any, list[torch.Tensor]], None], *outs: torch.Tensor, limit: float = 5e-3
    ) -> None:
        got, right = [o.clone() for o in outs], [o.clone() for o in outs]
        call(kernels, got)
        call(PLAIN, right)
        for place, (a, b) in enumerate(zip(got, right, strict=True)):
            cols = a.numel() * 8 // 19  # two planes: 2 + 3/8 bytes a value
            pair = [read_back(t, cols) if t.dtype == torch.int8 else t for t in (a, b)]
            error = distance(pair[0], pair[1].double())
            check(error < limit, f"{name}, output {place}: {error:.2e}, limit {limit:.0e}")

    def vector(cols: int) -> torch.Tensor:
        return kernels.vector(cols, CUDA)

    x, norm = values(HIDDEN, 5), 1 + halves(HIDDEN, scale=0.1)
    both("norm", lambda k, o: k.norm(x, norm, 1e-6, *o), vector(HIDDEN), halves(HIDDEN), halves(HIDDEN))
    angle = torch.rand(32, generator=random).repeat(2) * 6
    angles = (angle.cos().bfloat16().to(CUDA), angle.sin().bfloat16().to(CUDA))
    given = torch.randn(1536 + 576, generator=random).to(CUDA)
    norms = (1 + halves(1536, scale=0.1), 1 + halves(512, scale=0.1))
    table = torch.tensor([5, 2, 7], dtype=torch.int32, device=CUDA)
    place = torch.tensor([150], device=CUDA)
    cache = torch.zeros(8, 64, 1, 576, dtype=torch.bfloat16, device=CUDA)
    both("latents", lambda k, o: k.latents(given, norms, 1e-6, angles, place, table, o[0], o[1]), cache, vector(1536))
    query, kv_b = torch.randn(128 * 192, generator=random).to(CUDA), halves(128 * 256, 512, scale=0.05)
    both("absorb", lambda k, o: k.absorb(query, kv_b, HEADS, angles, o[0]), halves(128, 576))
    attended = halves(128, 512)
    both("values", lambda k, o: k.values(attended, kv_b, HEADS, o[0]), vector(128 * 128), limit=1e-4)
    router(kernels, x / 10)
    base, routed, host = (
        halves(HIDDEN),
        torch.randn(HIDDEN, generator=random).to(CUDA),
        halves(HIDDEN).cpu().pin_memory(),
    )
    both("layer_sum", lambda k, o: k.layer_sum(base, routed, host, o[0]), halves(HIDDEN))
    both("layer_sum alone", lambda k, o: k.layer_sum(base, routed, None, o[0]), halves(HIDDEN))


def router(kernels: DecodeKernels, x: torch.Tensor) -> None:
    """The chosen experts as sets of (id, weight), in page-locked memory as on the device."""
    random = torch.Generator().manual_seed(11)
    for seed in range(5):
        gate = (torch.randn(256, HIDDEN, generator=random) / 80).to(CUDA)
        bias = (torch.randn(256, generator=random) * 0.05).to(CUDA)
        table = torch.where(torch.rand(256, generator=random) < 0.4, torch.arange(256), -1).int().to(CUDA)
        found = []
        for k, lock in ((kernels, True), (PLAIN, False)):
            slots = torch.zeros(8, dtype=torch.int32, device=CUDA)
            weights, uses = torch.zeros(8, device=CUDA), torch.zeros(256, dtype=torch.int64, device=CUDA)
            host = (torch.zeros(8, dtype=torch.int64), torch.zeros(8))
            host = tuple(t.pin_memory() if lock else t for t in host)
            how = Choice(256, 8, 4, 8, normalised=True, factor=2.5)
            k.router(x, gate, bias, how, torch.zeros(256, device=CUDA), table, slots, weights, host, uses)
            torch.cuda.synchronize()
            order = weights.argsort(descending=True)
            found.append(
                (slots[order].cpu(), weights[order].cpu(), host[0][order.cpu()], host[1][order.cpu()], uses.cpu())
            )
        same = [
            torch.allclose(a, b, rtol=1e-4) if a.is_floating_point() else torch.equal(a, b)
            for a, b in zip(*found, strict=True)
        ]
        check(all(same), f"router, seed {seed}: {same}")


def main() -> int:
    """Checks everything; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    kernels = DecodeKernels(args.library)
    steps(kernels)
    for kind in KINDS:
        products(kernels, kind, 200 if args.quick else 1024, 1536 if args.quick else HIDDEN)
        experts(kernels, Pool(kind, 256 if args.quick else 512, 512 if args.quick else HIDDEN, 4))
        torch.cuda.empty_cache()
    checked = {"checked": [kind.name for kind in KINDS], "violations": violations}
    args.out.write_text(json.dumps(checked, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(checked) + "\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
