"""Push against skopeo: the same synthetic image to docker-registry on loopback, in turns, each time into an empty one.

Run by hand: `PYTHONPATH=tools python tests/leviathan/bench_push.py [--rounds 3] [--json]`. It wants docker-registry and
skopeo on PATH. The figure that counts is the ratio of the wall times, leviathan ÷ skopeo: at most 1.0. The CPU seconds
(client and registry together) tell the same where other work on the machine disturbs the wall times.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from push_support import MIB, REPOSITORY, TAG, Layout, find_program, make_layout, real_registry, start_cli

SIZES = (60 * MIB, 1000 * MIB, 300 * MIB, 120 * MIB, 20 * MIB)


def with_leviathan(host: str, layout: Layout, folder: Path, parallel: int) -> None:
    arguments = ("--registry", host, "--layout", str(layout.path), "--parallel", str(parallel))
    process = start_cli(folder, "push", *arguments)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err


def with_skopeo(host: str, layout: Layout, folder: Path) -> None:
    policy = folder / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    argv = [find_program("skopeo", "LEVIATHAN_SKOPEO_BIN"), "--policy", str(policy), "copy", "-q", "--preserve-digests"]
    argv += ["--dest-tls-verify=false", f"oci:{layout.path}:{TAG}", f"docker://{host}/{REPOSITORY}:{TAG}"]
    subprocess.run(argv, check=True, timeout=600)


def measure(rounds: int, parallel: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each round for both and of an unchanged push, and CPU seconds of client and registry."""
    layout = make_layout(folder / "image", SIZES)
    names = ("leviathan", "skopeo", "unchanged", "leviathan CPU", "skopeo CPU")
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        order = ["leviathan", "skopeo"] if turn % 2 == 0 else ["skopeo", "leviathan"]
        for name in order:
            place = folder / f"{name}{turn}"
            place.mkdir()
            used = cpu_seconds()
            with real_registry(place) as registry:
                os.sync()  # what the round before left to write is not this one's
                began = time.monotonic()
                if name == "skopeo":
                    with_skopeo(registry.host, layout, place)
                else:
                    with_leviathan(registry.host, layout, place, parallel)
                found[name].append(time.monotonic() - began)
                if name == "leviathan":
                    began = time.monotonic()
                    with_leviathan(registry.host, layout, place, parallel)
                    found["unchanged"].append(time.monotonic() - began)
            found[f"{name} CPU"].append(cpu_seconds() - used)
            shutil.rmtree(place)
    return found


def cpu_seconds() -> float:
    """CPU seconds of all processes that this one has waited for, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="bench-push-") as folder:
        found = measure(options.rounds, options.parallel, Path(folder))
    medians = {name: statistics.median(times) for name, times in found.items()}
    ratios = [ours / theirs for ours, theirs in zip(found["leviathan"], found["skopeo"], strict=True)]
    report = {
        "bytes": sum(SIZES),
        "seconds": found,
        "median_seconds": medians,
        "ratio_of_medians": medians["leviathan"] / medians["skopeo"],
        "ratios": ratios,
        "load": [load[0], os.getloadavg()[0]],
    }
    if options.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    for name, times in found.items():
        sys.stdout.write(f"{name:14} {medians[name]:7.2f} s   ({', '.join(f'{each:.2f}' for each in times)})\n")
    sys.stdout.write(f"ratio of medians, leviathan / skopeo: {report['ratio_of_medians']:.2f}\n")
    sys.stdout.write(f"load before and now: {load[0]:.1f}, {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
