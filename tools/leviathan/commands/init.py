"""`leviathan init`."""

import os
import sys
from pathlib import Path

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import UsageError
from leviathan.terminal.output import Report, write_atomically

HELP = """Create a site file from what the cluster and your registry login show, and ask for the rest.

Detects the GPU node, its GPUs, CPUs and memory, the RuntimeClass, the storage classes, and the registry that you are
logged in to. Asks for the image's repository and for the model. Values given with --set are used as they are.

\b
Examples:
  leviathan init
  leviathan init --set registry.host=ghcr.io --set image.repository=lab/leviathan --set storage.path=/srv/models
  leviathan preflight --site site.toml
"""


@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="site.toml",
    show_default=True,
    help="File to write.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--context", metavar="NAME", default="", help="Context of the kubeconfig (cluster.context).")
def init_command(invocation: Invocation, out: Path, force: bool, context: str) -> int:
    """Observe the cluster, ask, and write the file."""

    def written() -> Report:
        from leviathan.cluster.client import connect  # noqa: PLC0415 - the Kubernetes client is slow to import
        from leviathan.init.observe import observe  # noqa: PLC0415
        from leviathan.init.propose import propose  # noqa: PLC0415
        from leviathan.init.write import site_text  # noqa: PLC0415
        from leviathan.registry.credentials import auth_files  # noqa: PLC0415
        from leviathan.site.load import load  # noqa: PLC0415

        if out.exists() and not force:
            raise UsageError(
                f"the file {out} exists already", remedy=f"leviathan init --out OTHER, or --force to replace {out}"
            )
        given = dict(text.split("=", 1) for text in invocation.settings if "=" in text)
        given |= {"cluster.context": context} if context else {}
        first = [f"cluster.context={given['cluster.context']}"] if given.get("cluster.context") else []
        seen = observe(connect(load(settings=first).site, os.environ), auth_files(os.environ))
        for node in seen.nodes:
            invocation.console.say(f"init: {node.text()}")
        lines = propose(seen, given, _ask if sys.stdin.isatty() else None)
        write_atomically(out, site_text(lines))
        load(out)  # reports values that conflict with each other
        text = f"wrote {out}: {len(lines)} keys\nnext: leviathan preflight --site {out}"
        return Report(text, {"file": str(out), "keys": {line.key: line.value for line in lines}, "changed": True})

    return invocation.finish(written)


def _ask(question: str, example: str, default: str) -> str:
    return str(click.prompt(f"{question} (such as {example})", default=default or None, err=True)).strip()


command = make_command("init", HELP)(init_command)
