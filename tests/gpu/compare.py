"""Holds answers of `engine_run.py` against the plain torch reference: `compare.py GGUF ANSWERS.npz [--marlin]`.

The reference gets the engine's own tokens (teacher forcing) and computes the logits of every step at once. An error is
relative: Euclidean, over the vocabulary or the hidden size. A token that differs counts as wrong only where the
reference's two candidates lie further apart than `--margin` times the spread of its logits.

`--routes FILE` takes what the routers saw and chose from a run with `engine_run.py --routes` that gave the same
tokens, and holds three things apart which a plain comparison mixes:
- the router's choice: given what the engine's router was given, the reference must choose the same experts, always;
- its input: with the engine's choices handed in (`forced`), every position and layer within `--input-limit`;
- the answer: with them handed in, the logits of every step within `--limit`, and no token wrong.
Without it only the median of the logits' errors is held to `--limit`: a near-tie in a router, which rounding decides,
exchanges an expert and moves the logits much further. Exit code 1 when something does not hold.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference import Reference
from torch import Tensor


def errors(got: Any, wanted: Any) -> Any:
    """Relative error of every row."""
    return np.linalg.norm(got - wanted, axis=-1) / np.linalg.norm(wanted, axis=-1)


def answers(logits: Any, wanted: Any, answer: Any, margin: float) -> dict[str, Any]:
    """Compare the engine's logits and tokens with the reference's logits."""
    found = errors(logits, wanted)
    gaps = (wanted.max(1) - wanted[np.arange(len(answer)), answer]) / wanted.std(1)
    return {
        "equal": int((wanted.argmax(1) == answer).sum()),
        "wrong": int((gaps > margin).sum()),
        "widest_gap": float(gaps.max()),
        "at": int(gaps.argmax()),
        "median_error": float(np.median(found)),
        "worst_error": float(found.max()),
        "worst_at": int(found.argmax()),
    }


def flips(
    reference: Reference, own: dict[int, Tensor], given: dict[int, Tensor], positions: int
) -> list[dict[str, Any]]:
    """Positions at which the reference, left alone, chooses other experts than the engine: how near the tie was.

    `own` and `given` are the routers' inputs in the reference and in the engine, with the same choices before this
    layer, of the last of all `positions`. `gap` is how far apart the reference sees the group, or else the expert, that
    it takes and the one that the engine takes; `moved` how far the engine's input moves those two towards each other.
    A tie flips when moved > gap.
    """
    out = []
    for layer in sorted(given):
        here, there = (reference.biased(layer, x[layer]) for x in (own, given))
        mine, theirs = (reference.choose(layer, x[layer]) for x in (own, given))
        for row in (mine != theirs).any(-1).nonzero().flatten().tolist():
            groups = [set(pair[1][row].topk(reference.shape.groups_used)[1].tolist()) for pair in (here, there)]
            kind, sets = 1, groups
            if groups[0] == groups[1]:
                kind, sets = 0, [set(choice[row].tolist()) for choice in (mine, theirs)]
            lost, won = sorted(sets[0] - sets[1]), sorted(sets[1] - sets[0])
            mine_gap = float(here[kind][row][lost].min() - here[kind][row][won].max())
            their_gap = float(there[kind][row][lost].min() - there[kind][row][won].max())
            what = "group" if kind else "expert"
            at = row + positions - len(mine)
            out.append({"at": at, "layer": layer, "of": what, "gap": mine_gap, "moved": mine_gap - their_gap})
    return out


def routed(data: Any, number: int, positions: int, device: str) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """By layer: the routers' inputs, and the experts chosen in ascending order, of all positions.

    The last layer computes only the last position of each chunk of a prompt: of it, those of the answer's positions.
    """
    inputs, chosen = {}, {}
    for name in data:
        kind, _, layer = name.partition(f"{number}.")
        if layer and kind == "router":
            inputs[int(layer)] = torch.from_numpy(data[name]).to(device)
        if layer and kind == "experts":
            chosen[int(layer)] = torch.from_numpy(data[name]).long().to(device).sort(-1)[0]
    answered = len(data[f"answer{number}"])
    for layer in [layer for layer, rows in chosen.items() if len(rows) < positions]:
        inputs[layer], chosen[layer] = inputs[layer][-answered:], chosen[layer][-answered:]
    return inputs, chosen


def compared(reference: Reference, data: Any, routes: Any, number: int, args: argparse.Namespace) -> dict[str, Any]:
    """One prompt, and whether it holds."""
    ids, answer, logits = (data[f"{kind}{number}"] for kind in ("prompt", "answer", "logits"))
    sequence, first = [*ids.tolist(), *answer[:-1].tolist()], len(ids) - 1
    reference.forced = {}
    free = answers(logits, reference.logits(sequence, first).cpu().numpy(), answer, args.margin)
    out = {"prompt": len(ids), "tokens": len(answer), "free": free}
    if routes is None:
        return out | {"good": free["wrong"] == 0 and free["median_error"] <= args.limit}
    if not np.array_equal(routes[f"answer{number}"], answer):
        raise SystemExit(f"prompt {number}: the run with --routes gave other tokens")
    given, reference.forced = routed(routes, number, len(sequence), args.device)
    forced = answers(logits, reference.logits(sequence, first).cpu().numpy(), answer, args.margin)
    own = {layer: rows[-len(given[layer]) :] for layer, rows in reference.router_inputs.items()}
    inputs = [errors(given[layer].cpu().numpy(), own[layer].cpu().numpy()) for layer in sorted(given)]
    other = sum(int((reference.choose(n, given[n]) != reference.forced[n]).any(-1).sum()) for n in given)
    turned = flips(reference, own, given, len(sequence))
    good = other == 0 and max(row.max() for row in inputs) <= args.input_limit
    return out | {
        "forced": forced,
        "routers": {
            "choices": sum(row.size for row in inputs),
            "not_the_reference's_on_the_same_input": other,
            "flipped_by_rounding": len(turned),
            "widest_flipped_gap": max((one["gap"] for one in turned), default=0.0),
            "input_error_median": [float(np.median(row)) for row in inputs],
            "input_error_worst": [float(row.max()) for row in inputs],
            "flips": [one for one in turned if one["at"] >= first][:12],
        },
        "good": good and forced["wrong"] == 0 and forced["worst_error"] <= args.limit,
    }


def main() -> int:
    """One JSON object on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--routes", type=Path)
    parser.add_argument("--marlin", action="store_true")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--limit", type=float, default=0.05)
    parser.add_argument("--input-limit", type=float, default=0.05)
    parser.add_argument("--margin", type=float, default=0.2)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = False
    reference = Reference(args.gguf, args.device, marlin=args.marlin)
    data = np.load(args.answers)
    routes = np.load(args.routes) if args.routes else None
    count = sum(name.startswith("prompt") for name in data)
    out = [compared(reference, data, routes, number, args) for number in range(count)]
    good = all(one["good"] for one in out)
    sys.stdout.write(json.dumps({"good": good, "marlin": args.marlin, "prompts": out}) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the slimmed tree's unused libraries cannot run their destructors
