"""compute-sanitizer over every kernel of leviathan_operators: `sanitize.py LIBRARY OUT_FOLDER [SCRIPT ARGUMENTS…]`.

memcheck, racecheck, initcheck and synccheck, each over the checks of experts.py at small sizes (every block type,
decode steps in a CUDA graph too) and one streamed layer of stream_experts.py; SCRIPT runs below each of them, too.
Every tensor is an allocation of its own, so that a byte behind it is outside. Each tool first has to find the fault of
its kind in planted.cu, built here with nvcc. racecheck and synccheck look at our kernels alone. initcheck has to see
torch's kernels write, so it takes two block types, and what it says of another kernel does not count; the results of
matrix products are set to zero first, because it does not see the bulk stores of cuBLAS. Exit code 1 when
a tool finds something, does not end, misses the planted fault, or an answer is wrong; the logs are in OUT_FOLDER.
"""

import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SOURCES = HERE.parents[1] / "tools" / "leviathan_operators" / "kernels"
KERNEL = re.compile(r"__global__\s+(?:void\s+)?(?:__launch_bounds__\([^)]*\)\s+)?(?:void\s+)?(\w+)\s*\(")
FOUND, TOO_LONG, SECONDS = 9, 124, 200


def kernels() -> list[str]:
    """The names of our kernels, from their sources."""
    texts = [path.read_text(encoding="utf-8") for path in sorted([*SOURCES.glob("*.cu"), *SOURCES.glob("*.h")])]
    return sorted({name for text in texts for name in KERNEL.findall(text)})


def ours() -> list[str]:
    """The options that confine a tool to our kernels: in a mangled name a name's length stands before it."""
    return [word for name in kernels() for word in ("--kernel-name", f"kns={len(name)}{name}")]


def sanitised(tool: str, log: Path, *command: str) -> int:
    """The exit code of a command below a tool: FOUND when it found something."""
    only = ours() if tool in ("racecheck", "synccheck") else []
    argv = [
        "compute-sanitizer",
        "--tool",
        tool,
        "--error-exitcode",
        str(FOUND),
        "--log-file",
        str(log),
        "--print-limit",
        "0",
        *only,
        *command,
    ]
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "SANITIZE_TOOL": tool}
    try:
        code = subprocess.run(argv, env=environment, check=False, timeout=SECONDS).returncode
    except subprocess.TimeoutExpired:
        return TOO_LONG
    return 0 if code == FOUND and tool == "initcheck" and not named(log.read_text(encoding="utf-8")) else code


def named(log: str) -> list[str]:
    """Our kernels that a log names."""
    return [name for name in kernels() if re.search(rf"at (void )?<unnamed>::{name}[(<]", log)]


def planted(out: Path) -> list[str]:
    """The tools that miss the fault of their kind."""
    program = out / "planted"
    subprocess.run(["nvcc", "-arch=sm_90a", "-o", str(program), str(HERE / "planted.cu")], check=True, timeout=120)
    missed = []
    for tool in TOOLS:
        argv = ["compute-sanitizer", "--tool", tool, "--error-exitcode", str(FOUND), str(program), tool]
        if subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode != FOUND:
            missed.append(tool)
    return missed


def small(library_file: Path, out: Path) -> int:
    """What runs below a tool: the checks of the two scripts with their sizes cut; 1 when an answer is wrong."""
    import experts  # noqa: PLC0415  (torch takes a while, and only this half needs it)
    import stream_experts  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from leviathan_engine.gguf.types import GgmlType  # noqa: PLC0415
    from leviathan_operators.experts.products import Products  # noqa: PLC0415
    from leviathan_operators.experts.ring import Ring  # noqa: PLC0415
    from leviathan_operators.experts.streamed import Link, StreamedExperts, StreamedLayer  # noqa: PLC0415
    from leviathan_operators.kernels.library import Library  # noqa: PLC0415

    for module in (experts, stream_experts):
        module.WIDTH, module.HIDDEN = 256, 512
    stream_experts.EXPERTS, stream_experts.LAYERS = 16, 2
    experts.timed = lambda calls: calls[0]() or 1.0
    if os.environ.get("SANITIZE_TOOL") == "initcheck":
        product = torch.mm
        torch.mm = lambda a, b: product(a, b, out=a.new_zeros(len(a), b.shape[1]))
    library = Library(library_file)
    experts.small(library)
    kinds = experts.KINDS if os.environ.get("SANITIZE_TOOL") != "initcheck" else (GgmlType.Q4_K, GgmlType.Q6_K)
    for kind in kinds:
        base = experts.wanted(kind, experts.random_blocks(kind, 256 * 512 // kind.block))
        experts.dequantise_row(library, kind, base, 1.0)
        experts.decode_row(library, kind, base)
    files, bases = stream_experts.write(out)
    ring = Ring(library, torch.device("cuda:0"), 4, files.slot_bytes, 3, 1 << 14)
    products = Products(library, [files], ring.device)
    streamed = StreamedExperts(library, [Link(ring, products)], [StreamedLayer(files)] * 2)
    error = stream_experts.error_of(streamed, bases, 70, 12)
    ring.close()
    wrong = [*experts.violations, *([f"streamed: error {error:.1e}"] if error >= stream_experts.LIMIT else [])]
    sys.stderr.write("".join(f"wrong: {each}\n" for each in wrong))
    return 1 if wrong else 0


def main(library: Path, out: Path, *script: str) -> int:
    """Every tool; the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    bad = [f"{tool} misses the planted fault" for tool in planted(out)]
    runs = {"": (str(HERE / "sanitize.py"), "--small", str(library), str(out))} | (
        {"-script": script} if script else {}
    )
    for tool, (suffix, words) in itertools.product(TOOLS, runs.items()):
        began, log = time.monotonic(), out / f"{tool}{suffix}.log"
        code = sanitised(tool, log, sys.executable, *words)
        summary = log.read_text(encoding="utf-8").strip().splitlines()[-1:] or ["no log"]
        sys.stdout.write(f"{log.stem}: exit {code}, {time.monotonic() - began:.0f} s, {summary[0].strip('= ')}\n")
        if code:
            bad.append(f"{tool}: exit {code}, see {log}")
    sys.stdout.write("".join(f"sanitize.py: {each}\n" for each in bad) or f"nothing found in {', '.join(kernels())}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    if sys.argv[1] == "--small":
        sys.exit(small(Path(sys.argv[2]), Path(sys.argv[3])))
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
