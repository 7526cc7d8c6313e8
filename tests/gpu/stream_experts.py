"""Experts streamed to the GPU, one layer of DeepSeek-V3's sizes: `stream_experts.py LIBRARY FOLDER OUT.json`.

Writes one layer's experts (gate and up in Q4_K, down in Q6_K, 7.3 GB) to a file in FOLDER, so that they lie in the page
cache, and measures: the link (page-locked memory to the GPU), the ring alone for several counts of readers, and whole
layers for several lengths of a prompt. Answers of some tokens are compared with float64. Exit code 1 when one is wrong.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from experts import CHOICES, HIDDEN, WIDTH, random_blocks, wanted

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators.experts.files import LayerFiles, OpenFiles, Weight
from leviathan_operators.experts.products import Products
from leviathan_operators.experts.ring import Ring
from leviathan_operators.experts.streamed import Link, StreamedExperts, StreamedLayer
from leviathan_operators.kernels.library import Library

EXPERTS = 256
LAYERS = 3  # the same file thrice: the ring reads ahead over layers
READERS = (8, 12, 14, 16, 20, 24)
KINDS = (GgmlType.Q4_K, GgmlType.Q4_K, GgmlType.Q6_K)
# bfloat16 products, intermediate values and outputs: 2**-8 each at most.
LIMIT = 8e-3


def write(folder: Path) -> tuple[LayerFiles, list[torch.Tensor]]:
    """The file, and the one expert's blocks of each weight that all experts are turns of."""
    path = folder / "experts.bin"
    bases = [random_blocks(kind, WIDTH * HIDDEN // kind.block) for kind in KINDS]
    # Small scales: a layer's values are of the size that a model's are.
    for base, kind, at in zip(bases, KINDS, (0, 0, 208), strict=True):
        blocks = base.view(-1, kind.size)
        half = blocks[:, at : at + 2].contiguous().view(torch.float16)
        blocks[:, at : at + 2] = (half * 0.02).view(torch.uint8)
        if kind == GgmlType.Q4_K:
            half = blocks[:, 2:4].contiguous().view(torch.float16)
            blocks[:, 2:4] = (half * 0.15).view(torch.uint8)
    with path.open("wb") as file:
        for base, kind in zip(bases, KINDS, strict=True):
            for expert in range(EXPERTS):
                file.write(memoryview(base.view(-1, kind.size).roll(expert, 0).reshape(-1).numpy()))
    opened, weights, offset = OpenFiles()[path], [], 0
    for base, kind in zip(bases, KINDS, strict=True):
        weights.append(Weight(opened, offset, len(base), kind))
        offset += EXPERTS * len(base)
    return LayerFiles(0, *weights, experts=EXPERTS, width=WIDTH, hidden=HIDDEN), bases


def link_rate() -> float:
    """Bytes a second from page-locked memory to the GPU."""
    source = torch.empty(1 << 30, dtype=torch.uint8).pin_memory()
    target = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    best = 0.0
    for _ in range(4):
        torch.cuda.synchronize()
        began = time.perf_counter()
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize()
        best = max(best, len(source) / (time.perf_counter() - began))
    return best


def ring_alone(library: Library, files: LayerFiles, threads: int, slots: int, piece: int) -> dict[str, Any]:
    """GB/s of a layer through the ring when nothing is computed."""
    ring = Ring(library, torch.device("cuda:0"), slots, files.slot_bytes, threads, piece)
    queue = library.stream(torch.empty(1, device="cuda"))
    out: dict[str, Any] = {"threads": threads, "slots": slots, "piece": piece}
    for _ in range(2):  # the second time everything is warm
        before, began = ring.figures(), time.perf_counter()
        cpu = os.times()
        ring.begin([files], [range(EXPERTS)])
        for item in range(EXPERTS):
            ring.wait(item, queue)
            ring.release(item, queue)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        done, after = ring.figures().since(before), os.times()
        out |= {
            "GB/s": done.bytes / seconds / 1e9,
            "read_GB/s_a_thread": done.bytes / done.reading / 1e9,
            "cpus": (after.user + after.system - cpu.user - cpu.system) / seconds,
            "from_disk": done.from_disk,
        }
    ring.close()
    return out


def routing(tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, ids, weights on the GPU."""
    random = torch.Generator(device="cuda").manual_seed(tokens)
    x = torch.randn(tokens, HIDDEN, generator=random, device="cuda").bfloat16()
    ids = torch.rand(tokens, EXPERTS, generator=random, device="cuda").topk(CHOICES).indices
    weights = torch.rand(tokens, CHOICES, generator=random, device="cuda")
    return x, ids, weights / weights.sum(1, keepdim=True) * 2.5


def layer_row(streamed: StreamedExperts, ring: Ring, tokens: int, link: float) -> dict[str, Any]:
    """Seconds a layer over several layers in a row, and what the ring waited for."""
    x, ids, weights = routing(tokens)
    for position in range(LAYERS):
        streamed.layer(position, x, ids, weights)
    torch.cuda.synchronize()
    before, began = ring.figures(), time.perf_counter()
    for position in range(LAYERS):
        streamed.layer(position, x, ids, weights)
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - began) / LAYERS
    done = ring.figures().since(before)
    return {
        "tokens": tokens,
        "ms_a_layer": seconds * 1e3,
        "GB/s": done.bytes / LAYERS / seconds / 1e9,
        "of_link": done.bytes / LAYERS / seconds / link,
        "tokens/s_of_58_layers": tokens / seconds / 58,
        "readers_waited_for_link_s": done.link / LAYERS,
        "readers_waited_for_gpu_s": done.computing / LAYERS,
        "readers_read_s": done.reading / LAYERS,
        "caller_waited_s": done.waited / LAYERS,
    }


def compute_alone(streamed: StreamedExperts, files: LayerFiles, tokens: int) -> float:
    """Seconds a layer when the weights are there already: one expert's, 256 times."""
    x, ids, weights = routing(tokens)
    memory = torch.cat([random_blocks(kind, WIDTH * HIDDEN // kind.block) for kind in KINDS]).cuda()

    class Resident:
        device = torch.device("cuda:0")

        def wait(self, item: int, queue: int) -> int:
            return memory.data_ptr()

        def skip(self, items: list[int]) -> None:
            return

        def release(self, item: int, queue: int) -> None:
            return

        def begin(self, *_: Any) -> None:
            return

    alone = object.__new__(StreamedExperts)
    links = [Link(Resident(), link.products) for link in streamed._links]
    alone.__dict__.update(streamed.__dict__ | {"_links": links})
    alone.layer(0, x, ids, weights)
    torch.cuda.synchronize()
    began = time.perf_counter()
    alone.layer(0, x, ids, weights)
    torch.cuda.synchronize()
    return time.perf_counter() - began


def error_of(streamed: StreamedExperts, bases: list[torch.Tensor], tokens: int, judged: int) -> float:
    """Relative L2 of the first `judged` tokens' answers against float64."""
    x, ids, weights = routing(tokens)
    got = streamed.layer(0, x, ids, weights)[:judged]
    again = streamed.layer(0, x, ids, weights)[:judged]
    if not torch.equal(got, again):
        return float("inf")
    exact = [wanted(kind, base).cuda() for kind, base in zip(KINDS, bases, strict=True)]
    out = torch.zeros(judged, HIDDEN, dtype=torch.float64, device="cuda")
    for token, choice in itertools.product(range(judged), range(CHOICES)):
        turn = int(ids[token, choice]) * 256
        gate, up = (w.roll(turn).view(WIDTH, HIDDEN) @ x[token].double() for w in exact[:2])
        inner = torch.nn.functional.silu(gate) * up
        out[token] += (exact[2].roll(turn).view(HIDDEN, WIDTH) @ inner) * weights[token, choice].double()
    return float((got.double() - out).norm() / out.norm())


def main(library_file: Path, folder: Path, out: Path) -> int:
    """Runs everything; the exit code."""
    library = Library(library_file)
    files, bases = write(folder)
    link = link_rate()
    bytes_a_layer = EXPERTS * files.expert_bytes
    table: dict[str, Any] = {"link_GB/s": link / 1e9, "GB_a_layer": bytes_a_layer / 1e9, "cpus": os.cpu_count()}
    table["ring"] = [
        ring_alone(library, files, threads, 16, piece << 20) for threads, piece in itertools.product(READERS, (1, 2, 4))
    ]
    for row in table["ring"]:
        sys.stderr.write(f"{row}\n")
    best = max(table["ring"], key=lambda row: row["GB/s"])
    ring = Ring(library, torch.device("cuda:0"), best["slots"], files.slot_bytes, best["threads"], best["piece"])
    products = Products(library, [files], ring.device)
    streamed = StreamedExperts(library, [Link(ring, products)], [StreamedLayer(files)] * LAYERS)
    table["error"] = error_of(streamed, bases, 700, 12)
    table["layers"] = []
    for tokens in (128, 512, 2048, 4096, 16384):
        row = layer_row(streamed, ring, tokens, link)
        row["compute_alone_ms"] = compute_alone(streamed, files, tokens) * 1e3
        table["layers"].append(row)
        sys.stderr.write(f"{row}\n")
    ring.close()
    table["violations"] = [] if table["error"] < LIMIT else [f"streamed experts: error {table['error']:.2e}"]
    out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(f"error {table['error']:.2e}\n")
    return 1 if table["violations"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
