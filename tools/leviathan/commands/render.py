"""`leviathan render`."""

import os
from pathlib import Path

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.cli.usage import OneOf
from leviathan.errors import ExitCode
from leviathan.terminal.output import Report, write_atomically

HELP = """Print the Kubernetes manifests with the site's values, with the image pinned by digest.

Checks the result against the policy before printing it. Prints the start budget, which sets the startup probe and the
rollout deadline, to stderr.

\b
Examples:
  leviathan render | kubectl diff -f -
  leviathan render --variant unprivileged --out unprivileged.yaml
  leviathan render --digest sha256:... --set storage.partition=/dev/nvme1n1p1
"""


@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of stdout.")
@click.option(
    "--variant", type=OneOf(["privileged", "unprivileged"]), help="Variant of the manifests (workload.variant)."
)
@click.option("--node", metavar="NAME", help="Node (cluster.node).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
@click.option("--layout", metavar="FOLDER", help="OCI image layout to read the digest from (image.layout).")
@click.option("--digest", metavar="SHA256:...", help="Image digest to deploy instead of the layout's (image.digest).")
def render_command(invocation: Invocation, out: Path | None) -> int:
    """Render the site's variant."""

    def rendered() -> Report:
        from leviathan.cluster.errors import exits  # noqa: PLC0415
        from leviathan.manifests.rendering import render  # noqa: PLC0415 - the YAML reader is slow to import

        site = invocation.load_site().site
        with exits(ExitCode.FAILED):
            done = render(site, os.environ)
        invocation.console.say(done.budget.text())
        data = {"image": done.image, "objects": list(done.objects)}
        if out is None:
            return Report(done.text(), data)
        write_atomically(out, done.text())
        return Report(f"wrote {out}: {len(done.objects)} objects, {done.image}", data)

    return invocation.finish(rendered)


command = make_command(
    "render",
    HELP,
    digest="image.digest",
    layout="image.layout",
    namespace="cluster.namespace",
    node="cluster.node",
    variant="workload.variant",
)(render_command)
