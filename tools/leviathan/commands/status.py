"""`leviathan status`."""

import os

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Print what runs, whether it answers, how fast, and what is in the way.

Exit status 0 when the newest revision is ready and /health is 200, 1 when it is not. Changes nothing.

\b
Examples:
  leviathan status
  leviathan status --json | jq .tokens_per_second
"""


def status_command(invocation: Invocation) -> int:
    """Look once."""

    def looked() -> Report:
        from leviathan.cluster.client import connect  # noqa: PLC0415 - the Kubernetes client is slow to import
        from leviathan.rollout.deployment_status import run  # noqa: PLC0415

        site = invocation.load_site().site
        found = run(site, connect(site, os.environ))
        if not found.ok:
            invocation.console.say(f"not healthy: {found.word}")
        return Report(found.text(), found.data(), ok=found.ok)

    return invocation.finish(looked)


command = make_command("status", HELP)(status_command)
