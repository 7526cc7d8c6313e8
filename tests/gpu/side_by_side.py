"""Two runs of `kernels.py` in one table: `side_by_side.py OURS.json OURS.npz THEIRS.json THEIRS.npz`.

Markdown on stdout: errors against float64 and their limits, times, the ratio ours / theirs, share of the memory's rate,
and whether the outputs are equal bit for bit. Exit code 1, with the reasons on stderr, when a figure of either run is
over its absolute limit or its control is not (a fault that both compilers' builds have is one too), when a kernel was
not run, or when an error of ours is more than a tenth above theirs.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kernel_limits
import numpy as np

COLUMNS = ("kernel", "m", "error", "theirs", "limit", "µs", "theirs", "ratio", "of memory", "bits")


def key(row: Mapping[str, Any]) -> str:
    """What a row's outputs are called in the arrays' file."""
    if "m" not in row:
        return str(row["what"]).replace("dequantize_", "dequant ")
    return f"{'act ' if row['act_order'] else ''}{row['what']} {row['m']}".replace("/", "_")


def times(mine: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells on time; of q8_0, whose kernel's time is not to be had, the whole call's."""
    if mine["us"] is None:
        a, b = mine["call_us"], other["call_us"]
        return (f"{a:.0f} (call)", f"{b:.0f} (call)", f"{a / b:.2f}", "")
    return (f"{mine['us']:.1f}", f"{other['us']:.1f}", f"{mine['us'] / other['us']:.2f}", f"{mine['of_memory']:.0%}")


def cells(mine: Mapping[str, Any], other: Mapping[str, Any], *, equal: bool) -> tuple[str, ...]:
    """A row of the table."""
    name = mine["what"] + (", act-order" if mine.get("act_order") else "")
    figures = (f"{mine['error']:.2e}", f"{other['error']:.2e}", f"{kernel_limits.limits(mine)['error']:g}")
    return (name, str(mine.get("m", "")), *figures, *times(mine, other), "equal" if equal else "differ")


def faults(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Sentences: the limits that each run violates, judged again from its rows, and where ours is worse than theirs."""
    said = []
    for whose, run in (("ours", ours), ("theirs", theirs)):
        found = [*kernel_limits.violations(run["rows"]), *run["violations"]]
        said += [f"{whose}: {each}" for each in dict.fromkeys(found)]
    for mine, other in zip(ours["rows"], theirs["rows"], strict=True):
        if not mine["error"] <= other["error"] * 1.1 + 1e-12:
            said.append(f"{kernel_limits.name(mine)}: error {mine['error']:.2e}, theirs {other['error']:.2e}")
    return said


def main(ours: str, our_arrays: str, theirs: str, their_arrays: str) -> int:
    """Prints the table."""
    a, b = (json.loads(Path(name).read_text(encoding="utf-8").splitlines()[-1]) for name in (ours, theirs))
    x, y = np.load(our_arrays), np.load(their_arrays)
    sys.stdout.write(f"{a['gpu']}: torch {a['torch']} against {b['torch']}, copy {a['copy_rate'] / 1e12:.2f} TB/s\n\n")
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for mine, other in zip(a["rows"], b["rows"], strict=True):
        lines.append(cells(mine, other, equal=np.array_equal(x[key(mine)], y[key(mine)])))
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))
    said = faults(a, b)
    sys.stderr.write("".join(f"side_by_side.py: {each}\n" for each in said))
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
