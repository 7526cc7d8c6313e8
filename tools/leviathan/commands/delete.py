"""`leviathan delete`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import ExitCode
from leviathan.terminal.output import Report

HELP = """Delete what carries our label in the namespace, nothing else, and wait until it is gone.

The namespace goes too if `apply` made it and nothing else lives in it; of volumes without a namespace only those that
are claimed from it. The model's files are never touched. A second run has nothing to do.

\b
Examples:
  leviathan delete --dry-run
  leviathan delete --timeout 600 --json
"""


@click.option("--dry-run", is_flag=True, help="Say what would be deleted, change nothing.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long everything may take to go.",
)
@click.option("--context", metavar="NAME", help="Context of the kubeconfig (cluster.context).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
def delete_command(invocation: Invocation, dry_run: bool, timeout_s: float) -> int:
    """Delete what is ours."""

    def deleted() -> Report:
        from leviathan.cluster import deletion  # noqa: PLC0415 - the YAML reader is slow to import
        from leviathan.cluster.client import connect, exits  # noqa: PLC0415

        site = invocation.load_site().site
        with exits(ExitCode.APPLY):
            done = deletion.run(
                site, connect(site, os.environ), invocation.console, timeout_s=timeout_s, dry_run=dry_run
            )
        return Report(done.text(), done.data())

    return invocation.finish(deleted)


command = make_command("delete", HELP, namespace="cluster.namespace", context="cluster.context")(delete_command)
