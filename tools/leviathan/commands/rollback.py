"""`leviathan rollback`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import ExitCode
from leviathan.terminal.output import Report

HELP = """Roll the Deployment back to an earlier image. Changes only the image.

Without --to, chooses the image that last passed the smoke test (annotation leviathan/passed-digest). If none has
passed, chooses the image of the newest earlier ReplicaSet with a different image. Does not wait for the new pod: run
`leviathan rollout` next.

\b
Examples:
  leviathan rollback --dry-run
  leviathan rollback && leviathan rollout
  leviathan rollback --to sha256:...
"""


@click.option("--dry-run", is_flag=True, help="Show which image would be chosen, but change nothing.")
@click.option("--to", default="", metavar="SHA256:...", help="Digest to roll back to, in the site's repository.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig (cluster.context).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
def rollback_command(invocation: Invocation, dry_run: bool, to: str) -> int:
    """Roll back to an earlier image."""

    def rolled_back() -> Report:
        from leviathan.cluster import restore_image  # noqa: PLC0415 - the YAML reader is slow to import
        from leviathan.cluster.client import connect, exits  # noqa: PLC0415
        from leviathan.push.image_check import check  # noqa: PLC0415

        site = invocation.load_site().site
        with exits(ExitCode.APPLY):
            done = restore_image.run(
                site,
                connect(site, os.environ),
                invocation.console,
                to=to,
                dry_run=dry_run,
                pullable=lambda image: check(image, site, os.environ, invocation.console),
            )
        return Report(done.text(), done.data())

    return invocation.finish(rolled_back)


command = make_command("rollback", HELP, namespace="cluster.namespace", context="cluster.context")(rollback_command)
