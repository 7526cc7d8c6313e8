"""`python -m e2e.scenarios --layout result --report docs/evidence`: the whole way, with a report."""

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
from leviathan.terminal.signals import once

from .changes import change
from .disconnects import break_all
from .facts import of_this_run
from .faults import go_wrong
from .happy_path import walk
from .interruptions import interrupt
from .inventory import settled
from .load import load
from .mode import AGENT, Mode
from .report import Report
from .sites import measure, other_sites
from .stage import Stage

NOT_HERE = 4  # the exit status: 3 is kept for scripts/kubernetes, whose proxy may be out of reach
MODES = {"agent": AGENT, "kubelet": KUBELET}


def main() -> int:
    """0 when every check has passed, 1 when one has not, 4 when a part cannot be had on this machine."""
    given = command_line()
    mode = MODES[given.node]
    try:
        programs = find_programs(os.environ)
    except ControlPlaneError as error:
        return told(NOT_HERE, f"not run: {error}")
    inside = mode is KUBELET and GROUP in os.environ  # begun again by `alone`, which has asked
    lacks = "" if inside else lacking() or (missing(programs.folder) if mode is KUBELET else "")
    if lacks:
        return told(NOT_HERE, f"not run: {lacks}")
    if mode is KUBELET:
        if not inside:
            return alone(sys.argv[1:], given.folder)
        settle(given.folder)
    facts = mode.facts | {"Kubernetes programs": str(programs.folder)}
    report = Report(of_this_run(given.only) | facts, given.only)
    with once(), tempfile.TemporaryDirectory(prefix="leviathan-e2e-") as temporary:  # no signal interrupts cleaning up
        try:
            perform(given, mode, Path(temporary), report)
        except Exception as error:  # what ran is ended all the same
            report.ended = f"{type(error).__name__}: {error}"
            told(1, report.ended)
        finally:
            report.write(given.report)
    return result(report)


def command_line() -> argparse.Namespace:
    """Parse the command line. Exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="e2e.scenarios", description=__doc__)
    parser.add_argument("--layout", type=Path, required=True, help="the built image's OCI layout")
    parser.add_argument("--report", type=Path, required=True, help="folder for e2e.json, e2e.md and the pictures")
    parser.add_argument("--folder", type=Path, help="where everything runs; default: a temporary one, removed after it")
    only = "of faults, interruptions, load and breaks, those with NAME in their name"
    parser.add_argument("--only", default="", metavar="NAME", help=only)
    parser.add_argument("--node", choices=MODES, default="agent", help="what runs the node's pods")
    return parser.parse_args()


def perform(given: argparse.Namespace, mode: Mode, temporary: Path, report: Report) -> None:
    """Everything, on a stage of its own. Errors: what ends the run."""
    with report.check("0 control plane, node, registry, disk") as seen:
        stage = Stage(given.folder or temporary, given.layout, mode).__enter__()
        seen["server"], seen["disk"] = stage.plane.server, str(stage.disk.partition)
    try:
        with report.check("0 what is in the cluster before") as seen:
            before = settled(stage.plane.api)
            seen["objects"] = len(before)
        walk(stage, report)
        go_wrong(stage, report)
        interrupt(stage, report)
        load(stage, report, given.report)
        measure(stage, report)
        break_all(stage, report)
        change(stage, report, before)
        other_sites(stage, report)
    finally:
        stage.__exit__()


def result(report: Report) -> int:
    """The exit status of a run that has come to an end, told with what was left out."""
    left = f", {len(report.left_out)} left out by --only {report.only}" if report.left_out else ""
    if report.passed:
        return told(0, f"{len(report.checks)} checks passed{left}")
    failed = [check.name for check in report.checks if not check.passed] or [report.ended]
    return told(1, f"failed: {', '.join(failed)}{left}")


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
