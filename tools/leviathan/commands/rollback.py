"""`leviathan rollback`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import ExitCode
from leviathan.terminal.output import Report

HELP = """Have the Deployment run an earlier image again; nothing else in it is changed.

Without --to it is the image that last passed the smoke test (the annotation leviathan/passed-digest); where none has
passed, that of the newest earlier ReplicaSet that differs. Does not wait: follow it with `leviathan rollout`.

\b
Examples:
  leviathan rollback --dry-run
  leviathan rollback && leviathan rollout
  leviathan rollback --to sha256:...
"""


@click.option("--dry-run", is_flag=True, help="Say what it would go back to, change nothing.")
@click.option("--to", default="", metavar="SHA256:...", help="Digest in the site's repository to go to.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig (cluster.context).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
def rollback_command(invocation: Invocation, dry_run: bool, to: str) -> int:
    """Bring an earlier image back."""

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
