"""Two runs of `kernels.py` in one table: `side_by_side.py OURS.json OURS.npz THEIRS.json THEIRS.npz`.

Markdown on stdout: errors against float64, times, the ratio ours / theirs, share of the memory's rate, and whether the
outputs are equal bit for bit. Exit code 1 when an error of ours is more than a tenth above theirs.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(ours: str, our_arrays: str, theirs: str, their_arrays: str) -> int:
    """Prints the table."""
    a, b = (json.loads(Path(name).read_text(encoding="utf-8").splitlines()[-1]) for name in (ours, theirs))
    x, y = np.load(our_arrays), np.load(their_arrays)
    good = True
    sys.stdout.write(f"{a['gpu']}: torch {a['torch']} against {b['torch']}, copy {a['copy_rate'] / 1e12:.2f} TB/s\n\n")
    sys.stdout.write("| kernel | m | error | theirs | µs | theirs | ratio | of memory | bits |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|---|---|\n")
    for mine, other in zip(a["rows"], b["rows"], strict=True):
        name = mine["what"] + (", act-order" if mine.get("act_order") else "")
        key = f"{'act ' if mine.get('act_order') else ''}{mine['what']} {mine.get('m')}".replace("/", "_")
        key = key if "m" in mine else mine["what"].replace("dequantize_", "dequant ")
        good = good and mine["error"] <= other["error"] * 1.1 + 1e-12
        sys.stdout.write(
            f"| {name} | {mine.get('m', '')} | {mine['error']:.2e} | {other['error']:.2e} | {mine['us']:.1f}"
            f" | {other['us']:.1f} | {mine['us'] / other['us']:.2f} | {mine['of_memory']:.0%}"
            f" | {'equal' if np.array_equal(x[key], y[key]) else 'differ'} |\n"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
