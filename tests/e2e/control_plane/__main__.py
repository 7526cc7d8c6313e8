"""`python -m e2e.control_plane FOLDER`: run a control plane with a standing node until it is told to stop."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from .errors import ControlPlaneError
from .plane import ControlPlane
from .settings import find_programs
from .standing_node import StandingNode


def main() -> int:
    """Run until SIGINT or SIGTERM; the first line on stdout, once all is ready, says in JSON where everything is."""
    parser = argparse.ArgumentParser(prog="e2e.control_plane", description=__doc__)
    parser.add_argument("folder", type=Path, help="data, logs, certificates, kubeconfigs; made if missing")
    parser.add_argument("--no-node", action="store_true", help="without the standing node")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane(find_programs(os.environ), given.folder) as plane:
            facts = {
                "server": plane.server,
                "admin": str(plane.admin),
                "restricted": str(plane.restricted),
                "wrong": str(plane.wrong),
                "pids": {part.name: part.pid for part in plane.parts},
            }
            if given.no_node:
                print(json.dumps(facts), flush=True)  # noqa: T201
                signal.pause()
            with StandingNode(plane.api):
                print(json.dumps(facts), flush=True)  # noqa: T201
                signal.pause()
    except KeyboardInterrupt:
        return 0
    except ControlPlaneError as error:
        print(f"control plane: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
