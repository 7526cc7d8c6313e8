"""`leviathan apply`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import ExitCode
from leviathan.terminal.output import Report

HELP = """Bring the manifests into the cluster by server-side apply, as the field manager `leviathan`.

Looks at every object first: a field that another manager has set to another value is a conflict, and nothing is changed
until --force-conflicts takes it over. Then applies what differs, and prunes what carries our label and is rendered no
more. A second run changes nothing. Before the Deployment is changed the registry is asked whether it has the image.

\b
Examples:
  leviathan apply --dry-run
  leviathan apply --digest sha256:...
  leviathan apply --force-conflicts --json
"""


@click.option("--dry-run", is_flag=True, help="Let the server check everything, change nothing.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that belong to other managers.")
@click.option("--prune/--no-prune", default=True, help="Delete what carries our label and is rendered no more.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig (cluster.context).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
@click.option("--layout", metavar="FOLDER", help="OCI image layout that the digest is read from (image.layout).")
@click.option("--digest", metavar="SHA256:...", help="Digest to pin instead of the layout's (image.digest).")
def apply_command(invocation: Invocation, dry_run: bool, force_conflicts: bool, prune: bool) -> int:
    """Apply the site's manifests."""

    def applied() -> Report:
        from leviathan.cluster import server_side_apply  # noqa: PLC0415 - the YAML reader is slow to import
        from leviathan.cluster.client import connect, exits  # noqa: PLC0415
        from leviathan.push.image_check import check  # noqa: PLC0415

        site = invocation.load_site().site
        with exits(ExitCode.APPLY):
            done = server_side_apply.run(
                site,
                connect(site, os.environ),
                invocation.console,
                environ=os.environ,
                force_conflicts=force_conflicts,
                prune=prune,
                dry_run=dry_run,
                pullable=lambda image: check(image, site, os.environ, invocation.console),
            )
        return Report(done.text(), done.data())

    return invocation.finish(applied)


command = make_command(
    "apply",
    HELP,
    digest="image.digest",
    layout="image.layout",
    namespace="cluster.namespace",
    context="cluster.context",
)(apply_command)
