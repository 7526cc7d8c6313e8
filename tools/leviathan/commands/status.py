"""`leviathan status`."""

import os

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Show what is deployed, whether it is healthy, its speed, and current problems.

Exits with 0 if the newest revision is ready and /health answers 200, otherwise with 1. Changes nothing.

\b
Examples:
  leviathan status
  leviathan status --json | jq .tokens_per_second
"""


def status_command(invocation: Invocation) -> int:
    """Read the status once."""

    def looked() -> Report:
        from leviathan.cluster.client import connect  # noqa: PLC0415 - the Kubernetes client is slow to import
        from leviathan.rollout.deployment_status import run  # noqa: PLC0415

        site = invocation.load_site().site
        status = run(site, connect(site, os.environ))
        if not status.ok:
            invocation.console.say(f"not healthy: {status.word}")
        return Report(status.text(), status.data(), ok=status.ok)

    return invocation.finish(looked)


command = make_command("status", HELP)(status_command)
