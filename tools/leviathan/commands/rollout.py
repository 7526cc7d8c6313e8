"""`leviathan rollout`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Wait until the newest revision is ready and /health is 200, and say why when it does not get there.

Waits as long as something moves: the pod, its container, the bytes that the engine has loaded. Gives up when a reason
that does not go away by itself has lasted, when nothing has changed for a while, or when the start budget is used up;
then it prints what to do, all findings and the last lines of the engine's log. Changes nothing.

\b
Examples:
  leviathan rollout
  leviathan rollout --timeout 3600 --idle 900
  leviathan rollout --json --result-file rollout.json
"""


@click.option("--idle", type=int, metavar="SECONDS", help="Give up after so long without a change (rollout.idle_s).")
@click.option(
    "--timeout", type=int, metavar="SECONDS", help="Give up after so long in all (rollout.timeout_s; 0: start budget)."
)
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
