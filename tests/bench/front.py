"""The front of the engine over the engine's own socket, as tests/leviathan_engine/bench_front.py measures it."""

import json
import subprocess
import sys

from .errors import BenchError
from .nix import ROOT
from .table import Line, Row

PROGRAM = ROOT / "tests" / "leviathan_engine" / "bench_front.py"
PATIENCE_S = 600
# bench_front's words → the table's.
WHAT = {
    "a request": "front: a request, more than over the engine's own socket",
    "decode": "front: decode, more time a token than over the engine's own socket",
    "/health": "front: /health, p99 with 64 open streams",
    "the port listens": "front: from the launcher's start until its port listens",
}


def rows(told: str) -> list[Line]:
    """The rows of bench_front's JSON; a share becomes per cent."""
    found: list[Line] = []
    for each in json.loads(told):
        scale, unit = (1.0, each["unit"]) if each["unit"] else (100.0, "%")
        value, most = each["value"] * scale, each["limit"] * scale
        found.append(Row(WHAT[each["what"]], value, unit, most=most, detail=each["detail"]))
    return found


def measure() -> list[Line]:
    """The rows of this part, two minutes.

    Raises:
        BenchError: bench_front.py failed; one that only found a limit passed has rows.
    """
    argv = [sys.executable, str(PROGRAM), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if done.returncode not in {0, 1} or not done.stdout.startswith("["):
        raise BenchError(f"{PROGRAM.name} ended with {done.returncode}:\n{done.stderr.strip()}")
    return rows(done.stdout)
