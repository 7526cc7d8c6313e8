"""Records the answers of a real Kubernetes API server again: `scripts/record [KIND [NAME ...]]`, all without KIND.

It starts a control plane (tests/e2e/control_plane) in a folder of its own, with a node that nobody runs pods on, plays
the scenes and writes `KIND/NAME.json` next to this file, in normal form (`normal_form`).
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import record_apply
import record_deploy
import record_model
import record_preflight
import record_rollout

from e2e.control_plane.errors import ControlPlaneError
from e2e.control_plane.plane import ControlPlane
from e2e.control_plane.settings import find_programs
from e2e.control_plane.standing_node import StandingNode

KINDS: dict[str, Callable[[Path, list[str]], None]] = {
    "apply": record_apply.main,
    "deploy": record_deploy.main,
    "model": record_model.main,
    "preflight": record_preflight.main,
    "rollout": record_rollout.main,
}


def main() -> int:
    """Record what the command line names; 1 when there is no control plane to record from."""
    parser = argparse.ArgumentParser(prog="scripts/record", description="Record a real API server's answers.")
    parser.add_argument("kind", metavar="KIND", nargs="?", choices=sorted(KINDS), help=", ".join(sorted(KINDS)))
    parser.add_argument("names", metavar="NAME", nargs="*", help="a scene; without it all of KIND")
    arguments = parser.parse_args()
    try:
        for kind in [arguments.kind] if arguments.kind else KINDS:
            with (
                tempfile.TemporaryDirectory(prefix="leviathan-record-") as folder,
                ControlPlane(find_programs(os.environ), Path(folder)) as plane,
                StandingNode(plane.api),
            ):
                KINDS[kind](plane.folder, arguments.names)
    except ControlPlaneError as error:
        sys.stderr.write(f"record: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
