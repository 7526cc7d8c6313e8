"""`leviathan apply`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import ExitCode
from leviathan.terminal.output import Report

HELP = """Apply the manifests to the cluster with server-side apply, as the field manager `leviathan`.

First checks every object. If another field manager owns a field with a different value, that is a conflict: nothing is
changed unless --force-conflicts is given. Then applies the objects that differ, and prunes objects that carry our label
but are no longer rendered. Before changing the Deployment, checks that the registry has the image. A second run changes
nothing.

\b
Examples:
  leviathan apply --dry-run
  leviathan apply --digest sha256:...
  leviathan apply --force-conflicts --json
"""


@click.option("--dry-run", is_flag=True, help="Validate everything on the server, but change nothing.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that other field managers own.")
@click.option("--prune/--no-prune", default=True, help="Delete objects with our label that are no longer rendered.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig (cluster.context).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
@click.option("--layout", metavar="FOLDER", help="OCI image layout to read the digest from (image.layout).")
@click.option("--digest", metavar="SHA256:...", help="Image digest to deploy instead of the layout's (image.digest).")
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
