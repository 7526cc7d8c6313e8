"""`leviathan diff`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import ExitCode
from leviathan.terminal.output import Report

HELP = """Show what `apply` would change, as unified diffs between the live objects and the result of a server dry run.

Changes nothing. Leaves out status, managedFields and fields that the server counts up.

\b
Exit status of this command: 0 no differences, 2 differences found.
A usage error also exits with 2, but prints nothing to stdout ("ok": false with --json).
Other errors keep their own status (6: the cluster refused).

\b
Examples:
  leviathan diff
  leviathan diff --json | jq -r '.objects[].object'
  leviathan diff > /dev/null && echo nothing to do
"""


@click.option("--prune/--no-prune", default=True, help="Include the objects that `apply` would prune.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig (cluster.context).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
@click.option("--layout", metavar="FOLDER", help="OCI image layout to read the digest from (image.layout).")
@click.option("--digest", metavar="SHA256:...", help="Image digest to deploy instead of the layout's (image.digest).")
def diff_command(invocation: Invocation, prune: bool) -> int:
    """Compare the site's manifests with the cluster."""
    different = 0

    def compared() -> Report:
        nonlocal different
        from leviathan.cluster import live_diff  # noqa: PLC0415 - the YAML reader is slow to import
        from leviathan.cluster.client import connect, exits  # noqa: PLC0415

        site = invocation.load_site().site
        with exits(ExitCode.APPLY):
            done = live_diff.run(site, connect(site, os.environ), invocation.console, environ=os.environ, prune=prune)
        different = live_diff.DIFFERENT if done.different else 0
        if not different:
            invocation.console.say(f"no difference in {done.looked_at} objects")
        return Report(done.text(), done.data())

    return invocation.finish(compared) or different


command = make_command(
    "diff",
    HELP,
    digest="image.digest",
    layout="image.layout",
    namespace="cluster.namespace",
    context="cluster.context",
)(diff_command)
