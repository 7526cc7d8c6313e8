"""Gives the GGUF reader millions of damaged headers: each must be read, or refused in one line, in bounded time.

    python3 tests/leviathan_engine/fuzz_gguf.py [--inputs N] [--seconds 900] [--workers 2] [--seed 0] [--out FILE]

Each input is a small sound header with up to four changes: bytes, numbers at the edges of their widths, pieces that are
cut out, repeated or moved, and cuts at the end. Exit status 1 and the input in hexadecimal for the first that does
anything else than be read or refused. What was counted is printed as JSON.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import reader
from leviathan_engine.gguf.cursor import Cursor
from leviathan_engine.gguf.types import GgmlType, ValueType
from leviathan_engine.gguf.write import write_gguf

_EDGES = [0, 1, 2, 3, 7, 8, 9, 12, 13, 24, 31, 32, 33, 39, 41, 127, 255, 256, 1 << 16, (1 << 24) - 1, 1 << 24, 1 << 31]
_EDGES += [(1 << 32) - 1, 1 << 32, 1 << 40, (1 << 62) - 1, 1 << 62, 1 << 63, (1 << 64) - 1]
EDGES = [number.to_bytes(8, "little") for number in _EDGES]
BATCH = 2000
STEP = 21


def seeds(folder: Path) -> list[bytes]:
    """Sound headers, small enough that each change hits something."""
    made: list[dict[str, tuple[ValueType, Any]]] = [
        {},
        {"general.architecture": (ValueType.STRING, "deepseek2"), "general.alignment": (ValueType.UINT32, 32)},
        {"a": (ValueType.ARRAY, ValueType.STRING, ["x", "yz", ""])},  # type: ignore[dict-item]
        {"a": (ValueType.ARRAY, ValueType.FLOAT64, [0.5, 1.5]), "b": (ValueType.BOOL, True)},  # type: ignore[dict-item]
    ]
    rows: list[list[tuple[str, tuple[int, ...], GgmlType]]] = [
        [("w", (32,), GgmlType.F32)],
        [("w", (256, 2), GgmlType.Q4_K), ("n", (4,), GgmlType.F16)],
        [],
        [("t", (32, 1, 1, 2), GgmlType.Q8_0)],
    ]
    found = []
    for index, (keys, tensors) in enumerate(zip(made, rows, strict=True)):
        path = folder / f"seed{index}.gguf"
        write_gguf(path, keys, tensors, (bytes(kind.nbytes(_count(shape))) for _, shape, kind in tensors))
        found.append(path.read_bytes())
    nested = (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    array = (9).to_bytes(4, "little") + (2).to_bytes(8, "little")
    inner = ((4).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(4)) * 2
    found.append(b"GGUF" + nested + (1).to_bytes(8, "little") + b"k" + (9).to_bytes(4, "little") + array + inner)
    return found


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def changed(base: bytes, noise: bytes, at: int) -> bytes:
    """`base` with one to four changes, chosen by the five bytes of `noise` from `at` on for each."""
    data = bytearray(base)
    for turn in range(at, at + 5 * (1 + (noise[at] & 3)), 5):
        size = len(data)
        if size < 9:
            break
        place = (noise[turn + 1] << 8 | noise[turn + 2]) % size
        kind, value = noise[turn + 3] & 7, noise[turn + 4]
        if kind < 3:
            data[place] = value
        elif kind == 3:
            data[place : place + 4] = EDGES[value % len(EDGES)][:4]
        elif kind == 4:
            data[place : place + 8] = EDGES[value % len(EDGES)]
        elif kind == 5:
            del data[place : place + (value & 15)]
        elif kind == 6:
            data[place:place] = data[max(0, place - (value & 31)) : place]
        else:
            del data[place:]
    return bytes(data)


def work(number: int, seed: int, inputs: int, seconds: float, bases: list[bytes], pipe: Any) -> None:
    """Read inputs until there were `inputs` or `seconds` have passed; send the counts, or the input that failed."""
    dice = random.Random(seed * 1000 + number)
    fd = os.memfd_create("input")
    path = Path("input.gguf")
    counts: Counter[str] = Counter()
    done, worst = 0, 0.0
    ends = time.monotonic() + seconds
    while done < inputs and time.monotonic() < ends:
        noise = dice.randbytes(STEP * BATCH)
        for at in range(0, STEP * min(BATCH, inputs - done), STEP):
            data = changed(bases[noise[at + 20] % len(bases)], noise, at)
            os.ftruncate(fd, 0)
            os.pwrite(fd, data, 0)
            began = time.perf_counter()
            try:
                reader._header(Cursor(fd, path, len(data), reader.MAX_HEADER_ITEMS), 0)
                counts["read"] += 1
            except GgufError as error:
                counts["refused"] += 1
                if "\n" in str(error) or not str(error).startswith("input.gguf: "):
                    pipe.send(("failed", f"not one line: {error!r}", data.hex()))
                    return
            except BaseException as error:
                pipe.send(("failed", repr(error), data.hex()))
                return
            spent = time.perf_counter() - began
            worst = max(worst, spent)
            done += 1
    pipe.send(("done", done, dict(counts), worst))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the JSON there")
    given = parser.parse_args()
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"fuzz-gguf-{os.getpid()}"
    folder.mkdir()
    bases = seeds(folder)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    began = time.monotonic()
    share = -(-given.inputs // given.workers)
    pipes = []
    for number in range(given.workers):
        here, there = multiprocessing.Pipe(duplex=False)
        arguments = (number, given.seed, share, given.seconds, bases, there)
        multiprocessing.Process(target=work, args=arguments, daemon=True).start()
        pipes.append(here)
    total: Counter[str] = Counter()
    inputs, worst = 0, 0.0
    for pipe in pipes:
        kind, *rest = pipe.recv()
        if kind == "failed":
            sys.stderr.write(f"{rest[0]}\ninput: {rest[1]}\n")
            return 1
        inputs, worst = inputs + rest[0], max(worst, rest[2])
        total.update(rest[1])
    seconds = time.monotonic() - began
    report = {
        "inputs": inputs,
        "read": total["read"],
        "refused": total["refused"],
        "failures": 0,
        "slowest_ms": round(worst * 1000, 1),
        "seconds": round(seconds, 1),
        "inputs_per_second": round(inputs / seconds),
        "workers": given.workers,
        "seed": given.seed,
        "python": platform.python_version(),
    }
    text = json.dumps(report, indent=1) + "\n"
    sys.stdout.write(text)
    if given.out:
        given.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
