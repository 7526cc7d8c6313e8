"""Runs the engine on a GPU as the worker does, and writes what it answered: `engine_run.py GGUF WORK OUT.npz [...]`.

Configuration, rule file and placement come from leviathan_engine, as at a start in the pod. Prompts are fixed token
ids; the answer is greedy, and the logits of every step are kept for `compare.py`; `--routes` keeps what every router
was given and chose too (without a CUDA graph, in which nothing can be kept). `--cards 60000,20000` splits over real
cards, in MB each; `--split 2` puts the parts of a split on one card. VRAM is measured on each card before CUDA starts,
after loading and at its highest, and printed next to the plan. One JSON object on stdout.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import graph_nodes
import numpy as np

from leviathan_engine.gguf import read_model
from leviathan_engine.launcher.prepare import total_ram
from leviathan_engine.machine.gpus import gpus
from leviathan_engine.model.hf_config import build
from leviathan_engine.model.kv_b import engine_folder
from leviathan_engine.model.shape import read_shape
from leviathan_engine.plan import Gpu, Machine, Plan, Request, make_plan
from leviathan_engine.plan.machine import MB
from leviathan_engine.plan.place import Costs, Placement
from leviathan_engine.plan.ram import cpu_memory
from leviathan_engine.plan.rule_file import rules_yaml
from leviathan_engine.plan.vram import stream_bytes


def prompt(length: int, seed: int) -> list[int]:
    """Token ids of the byte tokens, after the model's first token."""
    random = np.random.default_rng(seed)
    return [0, *(int(i) for i in random.integers(4, 260, length - 1))]


def used_bytes() -> list[int]:
    """Each card's memory in use by all processes, as nvidia-smi has it."""
    argv = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    return [int(word) << 20 for word in done.stdout.split()]


def resident_bytes(plan: Plan, word: str) -> tuple[int, ...]:
    """Bytes of experts on each card, from a list or from the plan."""
    return tuple(gpu.experts for gpu in plan.gpus) if word == "plan" else tuple(int(part) for part in word.split(","))


def predicted(plan: Plan, costs: Costs, longest: int, *, one_card: bool) -> list[dict[str, int]]:
    """Bytes by purpose while so many tokens are read at once, for each card; `one_card`: all parts share it."""
    head = next(g for g, gpu in enumerate(plan.gpus) if gpu.head)
    layers = tuple((gpu.first_layer, gpu.last_layer + 1) for gpu in plan.gpus)
    needs = costs.needs(Placement(layers, head), longest)
    return [
        {
            "weights": sum(n.weights for n in part),
            "kv_cache": sum(n.kv_cache for n in part),
            "prefill": max(n.prefill for n in part),
            "loading": max(n.loading for n in part),
            "context": part[0].context,
        }
        for part in ([needs] if one_card else [[need] for need in needs])
    ]


def cards_and_split(args: argparse.Namespace) -> tuple[tuple[Gpu, ...], tuple[int, ...] | None]:
    """The cards that the planner hears of, and the split in bytes."""
    cards = gpus(None)
    if args.split > 1:
        parts = tuple(Gpu(i, cards[0].memory // args.split, cards[0].name) for i in range(args.split))
        return parts, tuple(int(part.memory * 0.9) for part in parts)
    if args.cards:
        return cards, tuple(int(word) * MB for word in args.cards.split(","))
    return cards[:1], None


class Measured:
    """What torch and the driver say of each card; `idle` is what was in use before CUDA started."""

    def __init__(self, torch: Any, idle: list[int]) -> None:
        self._torch, self._idle, self._cards = torch, idle, range(len(idle))
        self._loaded = [torch.cuda.memory_allocated(card) for card in self._cards]
        self._loading_peak = [torch.cuda.max_memory_allocated(card) for card in self._cards]
        torch.cuda.empty_cache()
        for card in self._cards:
            torch.cuda.reset_peak_memory_stats(card)

    def cards(self) -> list[dict[str, int]]:
        """Bytes, for each card, at the end of the run."""
        out = []
        for card in self._cards:
            free, total = self._torch.cuda.mem_get_info(card)
            used, reserved = total - free - self._idle[card], self._torch.cuda.memory_reserved(card)
            peak = self._torch.cuda.max_memory_allocated(card)
            out.append(
                {
                    "weights+kv_cache": self._loaded[card],
                    "loading_peak": self._loading_peak[card],
                    "peak": peak,
                    "reserved": reserved,
                    "context": used - reserved,
                    "card": used,
                }
            )
        return out


def ratios(forecast: dict[str, int], measured: dict[str, int]) -> dict[str, float]:
    """Predicted over measured, of one card."""
    total = sum(forecast[key] for key in ("weights", "kv_cache", "prefill", "context"))
    return {
        "weights+kv_cache": (forecast["weights"] + forecast["kv_cache"]) / measured["weights+kv_cache"],
        "loading": (forecast["weights"] + forecast["loading"]) / measured["loading_peak"],
        "total": total / (measured["peak"] + measured["context"]),
    }


def watch_routers(routed: dict[int, list[tuple[Any, Any]]]) -> None:
    """Keeps, by layer, what every call of a router was given (rows, hidden) and which experts it chose (rows, used)."""
    gate = import_module("ktransformers.operators.gate").KMoEGate
    layer_of = import_module("leviathan_engine.worker.load_progress").layer_of
    original = gate.forward

    def watched(self: Any, hidden: Any) -> Any:
        chosen, weights = original(self, hidden)
        rows = hidden.view(-1, hidden.shape[-1]).float().cpu().numpy()
        routed.setdefault(layer_of(self.key), []).append((rows, chosen.cpu().numpy()))
        return chosen, weights

    gate.forward = watched
    step: Any = import_module("leviathan_operators.operators.decode_step").Experts  # which calls no module for a token
    one = step.__call__

    def watched_step(self: Any, out: Any) -> None:
        one(self, out)
        import_module("torch").cuda.synchronize()
        ids = self._cpu.expert_ids_cpu.numpy().reshape(-1).copy()  # -1 for an expert that the GPU has, in a slot
        slots, table = self._slots.cpu().numpy(), self._here.table.cpu().numpy()
        for at in np.flatnonzero(ids < 0):
            ids[at] = np.flatnonzero(table == slots[at])[0]
        found = routed.setdefault(layer_of(self._cpu.key), [])
        found.append((self._room.normed.float().cpu().numpy()[None], ids[None]))

    step.__call__ = watched_step


class Idle:
    """Stands for the threads of the CPU's experts, and computes nothing: what is left is the GPU's part of a step."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments: None


def idle_experts(model: Any) -> None:
    """Takes the CPU's experts out of decode steps; copies stay, answers are wrong."""
    for layer in model.model.layers:
        if hasattr(layer.mlp, "experts"):
            cpu = layer.mlp.experts.generate_experts
            cpu.cpu_infer = Idle()
            cpu.output_cpu.zero_()  # which nothing writes now


def main() -> int:  # noqa: PLR0915 - one measurement from its beginning to its end, with nothing to share
    """Loads, answers, measures."""
    args = _parser().parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    idle = used_bytes()
    model = read_model(args.gguf)
    shape = read_shape(model)
    build(model).write(args.work / "hf")
    files = engine_folder(model, shape, args.work / "engine")
    cards, split = cards_and_split(args)
    machine = Machine(gpus=cards, ram=total_ram())
    plan = make_plan(model, machine, Request(args.cache_lens, split))
    args.prompt = [length or plan.max_prompt for length in args.prompt]
    rules = rules_yaml(plan, model, shape)
    if args.linear == "torch":
        rules = rules.replace("KLinearMarlin", "KLinearTorch")
    for gpu in range(1, args.split):  # the parts of the split share the one card that is there
        rules = rules.replace(f"cuda:{gpu}", "cuda:0")
    (args.work / "rules.yaml").write_text(rules, encoding="utf-8")
    visible = plan.visible if args.split == 1 else (0,)
    os.environ |= {"HOME": str(args.work / "home"), "CUDA_VISIBLE_DEVICES": ",".join(map(str, visible))}

    import torch  # noqa: PLC0415  (HOME first: upstream reads its configuration there when it is imported)

    from leviathan_engine.wire import Job  # noqa: PLC0415
    from leviathan_engine.worker.generation import even_chunks  # noqa: PLC0415
    from leviathan_engine.worker.ktransformers import KTransformers, Options  # noqa: PLC0415

    begun = time.monotonic()
    options = Options(
        home=args.work / "home",
        hf=args.work / "hf",
        gguf=files,
        rules=args.work / "rules.yaml",
        cpu_infer=args.cpu_infer,
        cache_lens=args.cache_lens,
        device="cuda:0",
        chunk=args.chunk or plan.chunk,
        stream_tokens=args.stream_tokens,
        page_lock=args.page_lock,
        gpu_experts=resident_bytes(plan, args.gpu_experts),
    )
    if args.nodes:
        graph_nodes.keep_graphs()
    engine: Any = KTransformers(options, lambda _layers, _bytes: None)
    load_seconds = time.monotonic() - begun
    engine._interface.args.use_cuda_graph = args.graph and not args.routes
    if args.idle_experts:
        idle_experts(engine._interface.model)
    measured = Measured(torch, [idle[card] for card in visible])

    steps: list[Any] = []
    sampler = import_module("leviathan_engine.worker.sampling").Sampler
    original = sampler.__call__

    def kept(self: Any, logits: Any) -> int:
        if args.keep:
            steps.append(logits.float().cpu().numpy())
        return int(original(self, logits))

    sampler.__call__ = kept
    routed: dict[int, list[tuple[Any, Any]]] = {}
    if args.routes:
        watch_routers(routed)
    arrays: dict[str, Any] = {}
    rates = []
    for number, length in enumerate(args.prompt):
        ids = prompt(length, number)
        steps.clear()
        routed.clear()
        job = Job(str(number), tuple(ids), args.steps, 0.0, 1.0, None, (), scope=str(number))
        times = [time.monotonic()]
        answer = []
        for token in engine.tokens(job):
            times.append(time.monotonic())
            answer.append(token)
            if len(answer) == args.steps:
                break
        arrays |= {f"prompt{number}": np.array(ids), f"answer{number}": np.array(answer)}
        if args.keep:
            arrays[f"logits{number}"] = np.stack(steps)
        for layer, calls in routed.items():
            arrays[f"router{number}.{layer}"] = np.concatenate([given for given, _chosen in calls])
            arrays[f"experts{number}.{layer}"] = np.concatenate([chosen for _given, chosen in calls])
        gaps = np.diff(times[4:])  # the first two decode steps run without the graph, the third captures it
        rates.append({"prompt": length, "first_s": times[1] - times[0], "ms_a_token": float(np.median(gaps)) * 1e3})
    np.savez(args.out, **arrays)
    pieces = (piece for length in args.prompt for piece in even_chunks(0, length, options.chunk))
    longest = max(end - first for first, end in pieces)
    forecast = predicted(plan, Costs(model, shape, args.cache_lens), longest, one_card=args.split > 1)
    for card, there in zip(forecast, (*options.gpu_experts, *(0 for _ in forecast)), strict=False):
        card["weights"] += min(there, cpu_memory(model, shape).experts)
        card["kv_cache"] += stream_bytes(model, shape)  # the ring is allocated together with the cache
    found = measured.cards()
    runner = getattr(engine._interface, "cuda_graph_runner", None)
    if engine._experts._uses is not None:
        engine._experts._uses._saved = -math.inf  # a run of less than a minute saves its counts too
    engine._experts.rest()
    report = {
        "step": graph_nodes.nodes(runner.graph) if args.nodes and runner else {},
        "hit_ratio": engine._experts.hit_ratio(),
        "linear": args.linear,
        "graph": hasattr(engine._interface, "cuda_graph_runner"),
        "peer": [torch.cuda.can_device_access_peer(0, card) for card in range(1, len(found))],
        "split": [[g.device, g.first_layer, g.last_layer, g.head, g.budget] for g in plan.gpus],
        "layers": shape.layers,
        "experts": shape.experts,
        "load_s": load_seconds,
        "rates": rates,
        "predicted": forecast,
        "measured": found,
        "ratio": [ratios(*pair) for pair in zip(forecast, found, strict=True)],
    }
    sys.stdout.write("\nRESULT " + json.dumps(report) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("gguf", "work", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--linear", choices=("marlin", "torch"), default="marlin")
    parser.add_argument("--no-graph", dest="graph", action="store_false")
    parser.add_argument("--split", type=int, default=1, help="parts, on the one card")
    parser.add_argument("--cards", default="", help="MB on each of several real cards, like 60000,20000")
    parser.add_argument("--cache_lens", type=int, default=2048)
    parser.add_argument("--chunk", type=int, help="tokens of a prompt that are read at once; without it the plan's")
    parser.add_argument("--stream_tokens", type=int, help="chunks from this size on are streamed; without it measured")
    parser.add_argument("--page_lock", type=int, default=0, help="bytes of main memory to page-lock for experts")
    parser.add_argument("--prompt", type=int, nargs="+", default=[24, 300], help="tokens; 0: as many as the plan takes")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--cpu_infer", type=int, default=15)
    parser.add_argument("--routes", action="store_true")
    parser.add_argument("--nodes", action="store_true", help="count the nodes of a decode step's CUDA graph")
    parser.add_argument("--idle_experts", action="store_true", help="time decode steps without the CPU's experts")
    parser.add_argument("--gpu_experts", default="0", help="bytes of resident experts on each card; or plan")
    parser.add_argument("--drop-logits", dest="keep", action="store_false")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # nothing else ends the engine's spinning threads
