"""What a user waits for, and how it compares with others: one table on stdout, what is being done on stderr.

Parts: building (evaluation, no-op build, one changed file), size, consumer (the image for RTX 30 to 50, where it is
built), push (compared with skopeo), moe (CPU experts, compared with -march=native and kt-kernel), front (its cost over
the engine's own socket), planner, nvcc (our CUDA compiler, compared with NVIDIA's), phases (of the image's build, as
Nix recorded them; with --phases each built again). pip brings kt-kernel and, where there is none, nvcc. Ends with 1
where a limit is passed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import building, consumer, front, machine, moe, nvcc, phases, planner, push, size
from .errors import BenchError, Missing
from .table import Line, NotRun, failed, record, render

Measure = Callable[[], list[Line]]
PARTS = ("building", "size", "consumer", "push", "moe", "front", "planner", "nvcc", "phases")


@dataclass(frozen=True)
class Options:
    """What was asked for; parts in the order in which they run."""

    parts: tuple[str, ...]
    everything: bool
    toolkit: Path | None
    kt_kernel: Path | None
    json: bool


def options(argv: Sequence[str]) -> Options:
    """The command line; without parts all of them."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--phases", action="store_true", help="build every derivation again: 20 minutes on 2 cores")
    parser.add_argument(
        "--nvcc", type=Path, metavar="DIR", help="NVIDIA's CUDA toolkit; default: this machine's, else pip's"
    )
    kt_kernel = "where kt-kernel's wheel is, packed or unpacked; default: one in .leviathan/bench, where pip brings it"
    parser.add_argument("--kt-kernel", type=Path, metavar="PATH", help=kt_kernel)
    parser.add_argument("--json", action="store_true", help="JSON on stdout, the table on stderr")
    given = parser.parse_args(argv)
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    asked = (["phases"] if given.phases else []) + (["nvcc"] if given.nvcc else [])
    wanted = {*(given.parts or PARTS), *asked}
    return Options(
        tuple(part for part in PARTS if part in wanted), given.phases, given.nvcc, given.kt_kernel, given.json
    )


def measurements(asked: Options) -> dict[str, Measure]:
    """Part → what measures it."""
    every: dict[str, Measure] = {
        "building": building.measure,
        "size": size.measure,
        "consumer": consumer.measure,
        "push": push.measure,
        "moe": lambda: moe.measure(asked.kt_kernel),
        "front": front.measure,
        "planner": planner.measure,
        "nvcc": lambda: nvcc.measure(asked.toolkit),
        "phases": lambda: phases.measure(asked.everything),
    }
    return {part: every[part] for part in asked.parts}


def say(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"leviathan: bench: {text}\n")
    sys.stderr.flush()


def main(argv: Sequence[str]) -> int:
    """0; 1 where a limit is passed or a part failed (the others still run); 2 for a wrong command line."""
    asked = options(argv)
    before, start = machine.load(), time.monotonic()
    lines: list[Line] = []
    others: dict[str, float] = {}
    broken = False
    for part, measure in measurements(asked).items():
        say(f"{part} ...")
        began = machine.moment()
        try:
            lines += measure()
        except Missing as missing:
            lines.append(NotRun(part, str(missing)))
        except (BenchError, OSError) as problem:
            say(f"{part}: {problem}")
            lines.append(NotRun(part, f"failed: {str(problem).splitlines()[0]}"))
            broken = True
        others[part] = machine.others(began, machine.moment())
    took, after = time.monotonic() - start, machine.load()
    table = f"{render(lines)}\n\n{machine.describe()}; load {before:.1f} before, {after:.1f} after; {took:.0f} s\n"
    shares = ", ".join(f"{part} {share:.0%}" for part, share in others.items())
    table += f"Other work's share of the CPUs meanwhile: {shares}\n"
    if asked.json:
        sys.stderr.write(table)
        facts = {"machine": machine.describe(), "load": [before, after], "seconds": took, "others": others}
        facts |= {"rows": record(lines)}
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write(table)
    return 1 if broken or failed(lines) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
