"""CPU MoE steps: the image's builds, `-march=native` and kt-kernel's kernels, on the same weights and inputs.

Every build runs in a process of its own, in turns. Its figure is the quickest of its steps in all rounds: other work on
the machine can only raise one, and hits some rounds more than others. The layer has DeepSeek-V3's expert (7168 x 2048,
Q4_K and Q6_K), 8 of 16 experts a token: those 8 are 228 MB, far more than a cache holds.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import moe_layer
import numpy as np

from . import kt_wheel, machine, nix
from .errors import BenchError, Missing
from .moe_worker import Spec, inputs
from .table import Line, NotRun, Row

TOKENS = (1, 16, 64)
ROUNDS = 6
PACKAGES = "usr/local/lib/python3.11/dist-packages"
EXTENSION = "cpuinfer_ext.cpython-311-x86_64-linux-gnu.so"
NATIVE = Path(__file__).resolve().parent / "native.nix"

# Equal code differs by up to this on a machine with other work: clang's -march=native on a Zen 4 is znver4 byte for
# byte, and that pair measured 0.95 to 1.02.
NOISE = 1.05
# Relative L2 between builds: compilers fuse the 8-bit rounding's multiply and add or not, measured 0.0055; the format's
# own error against exact arithmetic is 0.0174, another expert's weights give more than 1.
AGREEMENT = 0.01


@dataclass(frozen=True)
class Build:
    """A build of the kernels: how it is called, its kind and path for moe_worker, its environment."""

    name: str
    kind: str
    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def needs(named: Mapping[str, str]) -> dict[str, list[str]]:
    """The image's builds, best first → the flags that a CPU must have; `named` is label → derivation."""
    table = nix.output_of(named["ktransformers-python"]) / PACKAGES / "ktransformers_ext/cpu/march.json"
    return dict(json.loads(table.read_text(encoding="utf-8")))


def shipped(named: Mapping[str, str], march: str) -> Build:
    """One of the image's builds."""
    folder = nix.output_of(named[f"cpuinfer-{march}"]) / PACKAGES / "ktransformers_ext/cpu" / march
    return Build(march, "ours", folder / EXTENSION)


def unfit(table: Mapping[str, Sequence[str]], have: Sequence[str]) -> dict[str, str]:
    """The builds that a CPU with the flags `have` cannot run → why."""
    lacking = {march: [flag for flag in needed if flag not in have] for march, needed in table.items()}
    return {march: f"this CPU has no {', '.join(flags)}" for march, flags in lacking.items() if flags}


def native() -> list[Build]:
    """The same source with -march=native, by the image's compiler and by upstream's; built once for each CPU."""
    flags = " ".join(machine.flags())
    argv = ["--file", str(NATIVE), "--argstr", "cpuFlags", flags]
    clang, gcc = nix.build(*argv, "clang", "gcc")
    return [
        Build("clang -march=native", "ours", clang / "cpuinfer_ext.so"),
        Build("gcc -march=native", "ours", gcc / "cpuinfer_ext.so"),
    ]


def run(build: Build, spec: Spec, cudart: Path) -> dict[int, float]:
    """Tokens → milliseconds of one round of one build."""
    spec = replace(spec, kind=build.kind, path=str(build.path), answers=f"{spec.answers}/{build.name}")
    Path(spec.answers).mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, str(Path(__file__).with_name("moe_worker.py")), spec.text()]
    environment = {"LD_LIBRARY_PATH": str(cudart / "lib"), **build.environment}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=300, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise BenchError(f"{build.name}: a MoE step ended with {done.returncode} (-4: SIGILL): {last}")
    return {int(tokens): ms for tokens, ms in json.loads(done.stdout.splitlines()[-1]).items()}


def quickest(builds: Sequence[Build], spec: Spec, cudart: Path) -> dict[str, dict[int, float]]:
    """Name → tokens → milliseconds; the order turns around from round to round."""
    found: dict[str, dict[int, list[float]]] = {build.name: {n: [] for n in spec.tokens} for build in builds}
    for turn in range(ROUNDS):
        for build in builds[:: 1 if turn % 2 == 0 else -1]:
            for tokens, ms in run(build, spec, cudart).items():
                found[build.name][tokens].append(ms)
    return {name: {n: min(ms) for n, ms in each.items()} for name, each in found.items()}


def answer(spec: Spec, build: Build, tokens: int) -> moe_layer.Array:
    """What a build answered, in float64."""
    return moe_layer.from_bf16(np.load(Path(spec.answers) / build.name / f"{tokens}.npy"))


def answers(spec: Spec, layer: moe_layer.Layer, first: Build, builds: Sequence[Build]) -> list[Line]:
    """Rows on the answers: all builds against the first, and first and last against float64 with exact activations."""
    apart = [
        moe_layer.distance(answer(spec, build, tokens), answer(spec, first, tokens))
        for build in builds
        for tokens in spec.tokens
    ]
    given = inputs(spec, 1)
    x = moe_layer.from_bf16(given.x)
    exact = moe_layer.reference(layer, x, given.ids, given.weights, rounded=False)
    other = moe_layer.reference(layer, x, (given.ids + 1) % spec.experts, given.weights, rounded=False)
    if moe_layer.distance(answer(spec, first, 1), other) < 0.5:
        raise BenchError("MoE steps: other experts give the same answer: the comparison of answers is blind")
    ours, theirs = (moe_layer.distance(answer(spec, build, 1), exact) for build in (first, builds[-1]))
    return [
        Row("MoE answers, most that two builds differ (relative L2)", max(apart), "", most=AGREEMENT),
        Row(f"MoE error against float64, {first.name}", ours, "", theirs, builds[-1].name, most_ratio=NOISE),
    ]


def rows(best: Mapping[str, Mapping[int, float]], pairs: Sequence[tuple[str, str, float]]) -> list[Line]:
    """A row for each count of tokens and pair (ours, theirs, most that the ratio may be)."""
    lines: list[Line] = []
    for tokens in TOKENS:
        for ours, theirs, most in pairs:
            what = f"MoE step, {tokens} token{'s' if tokens > 1 else ''}, {ours}"
            lines.append(Row(what, best[ours][tokens], "ms", best[theirs][tokens], theirs, most_ratio=most))
    return lines


def measure(kt_kernel: Path | None) -> list[Line]:
    """The rows of this part: minutes more the first time, for the two native builds."""
    named = {nix.label(drv): drv for drv in nix.behind_image()}
    table = needs(named)
    cannot = unfit(table, machine.flags())
    ours = [shipped(named, march) for march in table if march not in cannot]
    if not ours:
        raise Missing("the image has no build of the CPU experts for this CPU: name one that fits in nix/settings.nix")
    builds = [*ours, *native()]
    pairs = [(ours[0].name, build.name, NOISE) for build in builds[len(ours) :]]
    lines: list[Line] = [NotRun(f"MoE step, {march}", why) for march, why in cannot.items()]
    try:
        wheel = kt_wheel.unpacked(kt_kernel)
        kt = [Build(kt_wheel.pinned(), "kt", wheel)]
        pairs.append((ours[0].name, kt[0].name, NOISE))
        if "x86-64-v3" in (build.name for build in ours):
            kt.append(Build(f"{kt_wheel.pinned()}, avx2", "kt", wheel, {"KT_KERNEL_CPU_VARIANT": "avx2"}))
            pairs.append(("x86-64-v3", kt[1].name, NOISE))
        builds += kt
    except Missing as missing:
        lines.append(NotRun("MoE step, compared with kt-kernel", str(missing)))
    with tempfile.TemporaryDirectory(prefix="bench-moe-") as folder:
        threads = max(1, (os.cpu_count() or 2) - 1)  # the last core is the waiting thread's
        spec = Spec("", "", folder, f"{folder}/answers", TOKENS, 7168, 2048, 16, 8, threads, 0.7)
        layer = moe_layer.random_layer(7, spec.hidden, spec.width, spec.experts)
        for name, weights in vars(layer).items():
            np.save(Path(folder) / f"{name}.npy", weights)
        best = quickest(builds, spec, nix.output_of(named["cuda-runtime"]))
        return [*rows(best, pairs), *answers(spec, layer, ours[0], builds[1:]), *lines]
