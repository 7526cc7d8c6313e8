"""`python -m e2e.way --layout result --report docs/evidence`: the whole way, with a report."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.control_plane.errors import ControlPlaneError
from e2e.control_plane.settings import find_programs
from e2e.kubelet.inside import GROUP, settle
from e2e.kubelet.mode import KUBELET
from e2e.kubelet.needs import missing, namespaces
from e2e.kubelet.outside import alone

from .breaks import break_all
from .changes import change
from .facts import of_this_run
from .faults import go_wrong
from .happy import walk
from .interruptions import interrupt
from .load import load
from .mode import AGENT
from .report import Report
from .stage import Stage

MODES = {"agent": AGENT, "kubelet": KUBELET}


def main() -> int:
    """0 when every check has passed, 1 when one has not, 3 when a part cannot be had on this machine."""
    parser = argparse.ArgumentParser(prog="e2e.way", description=__doc__)
    parser.add_argument("--layout", type=Path, required=True, help="the built image's OCI layout")
    parser.add_argument("--report", type=Path, required=True, help="folder for e2e.json, e2e.md and e2e.svg")
    parser.add_argument("--folder", type=Path, help="where everything runs; default: a temporary one, removed after it")
    parser.add_argument(
        "--only",
        default="",
        metavar="NAME",
        help="of faults, interruptions, load and breaks, those with NAME in their name",
    )
    parser.add_argument("--node", choices=MODES, default="agent", help="what runs the node's pods")
    given = parser.parse_args()
    mode = MODES[given.node]
    try:
        programs = find_programs(os.environ)
    except ControlPlaneError as error:
        return told(3, f"not run: {error}")
    inside = mode is KUBELET and GROUP in os.environ  # begun again by `alone`, which has asked
    lacks = "" if inside else lacking() or (missing(programs.folder) if mode is KUBELET else "")
    if lacks:
        return told(3, f"not run: {lacks}")
    if mode is KUBELET:
        if not inside:
            return alone(sys.argv[1:], given.folder)
        settle(given.folder)
    facts = mode.facts | {"Kubernetes programs": str(programs.folder)}
    report = Report(of_this_run(given.only) | facts, given.only)
    with tempfile.TemporaryDirectory(prefix="leviathan-e2e-") as temporary:
        try:
            with report.check("0 control plane, node, registry, disk") as seen:
                stage = Stage(given.folder or Path(temporary), given.layout, mode).__enter__()
                seen["server"], seen["disk"] = stage.plane.server, str(stage.disk.partition)
            try:
                walk(stage, report)
                go_wrong(stage, report)
                interrupt(stage, report)
                load(stage, report, given.report)
                break_all(stage, report)
                change(stage, report)
            finally:
                stage.__exit__()
        except Exception as error:  # the report has it with its check; what ran is ended all the same
            told(1, f"{type(error).__name__}: {error}")
        finally:
            report.write(given.report)
    failed = [check.name for check in report.checks if not check.passed]
    left = f", {len(report.left_out)} left out by --only {given.only}" if report.left_out else ""
    return (
        told(1, f"failed: {', '.join(failed)}{left}")
        if failed
        else told(0, f"{len(report.checks)} checks passed{left}")
    )


def lacking() -> str:
    """What this machine does not let us have, in words; empty when it has all."""
    if os.geteuid() != 0:
        return "it needs root, for a loop device, mounts and control groups"
    tried = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return f"no loop device on this machine: {tried.stderr.strip()}" if tried.returncode else namespaces()


def told(status: int, text: str) -> int:
    """The exit status, with a line about it."""
    print(f"e2e: {text}", file=sys.stderr)  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
