"""`leviathan rollout`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Wait until the newest revision is ready and /health answers 200, or explain what is blocking it.

Waits while there is progress: in the pod, in its container, or in the bytes that the engine has loaded. Gives up if a
permanent problem persists (rollout.patience_s), if nothing changes for rollout.idle_s, or when the start budget is used
up. Then prints how to fix it, all findings, and the last lines of the engine's log. Changes nothing.

\b
Examples:
  leviathan rollout
  leviathan rollout --timeout 3600 --idle 900
  leviathan rollout --json --result-file rollout.json
"""


@click.option("--idle", metavar="SECONDS", help="Give up after this long without progress (rollout.idle_s).")
@click.option("--timeout", metavar="SECONDS", help="Total time limit (rollout.timeout_s; 0: the start budget).")
def rollout_command(invocation: Invocation) -> int:
    """Wait for the rollout."""

    def waited() -> Report:
        from leviathan.cluster.client import connect, exits  # noqa: PLC0415 - the Kubernetes client is slow to import
        from leviathan.errors import ExitCode  # noqa: PLC0415
        from leviathan.rollout.wait import run  # noqa: PLC0415

        site = invocation.load_site().site
        with exits(ExitCode.ROLLOUT):
            done = run(site, connect(site, os.environ), invocation.console)
        return Report(done.text(), done.data())

    return invocation.finish(waited)


command = make_command("rollout", HELP, timeout="rollout.timeout_s", idle="rollout.idle_s")(rollout_command)
