"""`leviathan support`."""

import os
from functools import cache
from pathlib import Path

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import LeviathanError
from leviathan.terminal.output import Report

HELP = """Collect status, events, logs, site, preflight, metrics, versions and node data into one archive.

Reads no Secrets. Prints the list of files, which is also in the archive's README.txt. Read the files before you share
the archive: a log may contain your prompts.

\b
Examples:
  leviathan support
  leviathan support --out trouble.tar.gz
"""


@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="leviathan-support.tar.gz",
    show_default=True,
    help="File to write.",
)
def support_command(invocation: Invocation, out: Path) -> int:
    """Collect the files and write the archive."""

    def collected() -> Report:
        from leviathan.cluster.client import Cluster, connect  # noqa: PLC0415 - the client is slow to import
        from leviathan.support.archive import ABOUT, collect, write  # noqa: PLC0415

        loaded = invocation.load_site()

        @cache
        def cluster() -> Cluster:
            return connect(loaded.site, os.environ)

        files = collect(loaded, cluster, os.environ, invocation.console)
        try:
            write(out, files)
        except OSError as error:
            raise LeviathanError("cannot write the archive", where=str(out), why=error.strerror or "") from None
        lines = [f"{name:<18} {len(text.encode()):>9} bytes  {ABOUT[name]}" for name, text in files.items()]
        missing = [name for name, text in files.items() if text.startswith("not to be had: ")]
        lines += [f"missing: {name}: {files[name].strip()}" for name in missing]
        return Report("\n".join([*lines, f"wrote {out}"]), {"file": str(out), "missing": missing, "changed": False})

    return invocation.finish(collected)


command = make_command("support", HELP)(support_command)
