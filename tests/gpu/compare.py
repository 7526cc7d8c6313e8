"""Holds answers of `engine_run.py` against the plain torch reference: `compare.py GGUF ANSWERS.npz [--marlin]`.

The reference gets the engine's own tokens (teacher forcing) and computes the logits of every step at once. Printed for
each prompt: the relative error of the logits (Euclidean, over the vocabulary) in the middle and at worst, and how many
greedy tokens agree. A token that differs counts as wrong only where the reference's two candidates lie further apart
than `--margin` times the spread of its logits. Exit code 1 when one is wrong, or the median error is above `--limit`.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from reference import Reference


def main() -> int:
    """One JSON object on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--marlin", action="store_true")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--limit", type=float, default=0.05)
    parser.add_argument("--margin", type=float, default=0.2)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = False
    reference = Reference(args.gguf, args.device, marlin=args.marlin)
    data = np.load(args.answers)
    good = True
    out = []
    for number in range(sum(name.startswith("prompt") for name in data)):
        ids, answer, logits = (data[f"{kind}{number}"] for kind in ("prompt", "answer", "logits"))
        wanted = reference.logits([*ids.tolist(), *answer[:-1].tolist()], len(ids) - 1).cpu().numpy()
        errors = np.linalg.norm(logits - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        same = wanted.argmax(1) == answer
        gaps = (wanted.max(1) - wanted[np.arange(len(answer)), answer]) / wanted.std(1)
        wrong = int((gaps > args.margin).sum())
        good = good and wrong == 0 and float(np.median(errors)) <= args.limit
        out.append(
            {
                "prompt": len(ids),
                "tokens": len(answer),
                "equal": int(same.sum()),
                "wrong": wrong,
                "widest_gap": float(gaps.max()),
                "prefill_error": float(errors[0]),
                "median_error": float(np.median(errors)),
                "worst_error": float(errors.max()),
            }
        )
    sys.stdout.write(json.dumps({"good": good, "marlin": args.marlin, "prompts": out}) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the slimmed tree's unused libraries cannot run their destructors
