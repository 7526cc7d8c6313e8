"""`leviathan delete`."""

import os

import click

from leviathan.cli.numbers import NumberOption
from leviathan.cli.options import Invocation, make_command
from leviathan.errors import ExitCode
from leviathan.terminal.output import Report

HELP = """Delete the objects with our label in the namespace, and wait until they are gone.

Also deletes PersistentVolumes that are claimed from this namespace, and the namespace itself if `apply` created it and
it is empty. Never touches the model's files. A second run has nothing to do.

\b
Examples:
  leviathan delete --dry-run
  leviathan delete --timeout 600 --json
"""


@click.option("--dry-run", is_flag=True, help="Show what would be deleted, but change nothing.")
@click.option(
    "--timeout",
    "timeout_s",
    type=NumberOption(1, example=600),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until everything is gone.",
)
@click.option("--context", metavar="NAME", help="Context of the kubeconfig (cluster.context).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
def delete_command(invocation: Invocation, dry_run: bool, timeout_s: float) -> int:
    """Delete our objects."""

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
