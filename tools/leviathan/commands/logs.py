"""`leviathan logs`."""

import os
import sys

import click

from leviathan.cli.numbers import IntegerOption
from leviathan.cli.options import Invocation, make_command
from leviathan.errors import UsageError
from leviathan.terminal.output import Report
from leviathan.terminal.plain import plain

HELP = """Print the engine's log.

The log is that of the container `engine` in the newest pod. --follow runs until the container ends, reconnects when the
connection breaks, and reports how the container ended.

\b
Examples:
  leviathan logs --tail 100
  leviathan logs --follow
  leviathan logs --previous
"""


@click.option("--tail", type=IntegerOption(0, example=100), metavar="LINES", help="Print only the last LINES lines.")
@click.option("--previous", is_flag=True, help="Print the log from before the last restart.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until the container ends.")
def logs_command(invocation: Invocation, follow: bool, previous: bool, tail: int | None) -> int:
    """Print or follow the log."""

    def write(line: str) -> None:
        sys.stdout.write((plain(line.rstrip("\r")) if sys.stdout.isatty() else line) + "\n")
        sys.stdout.flush()

    def read() -> Report:
        if follow and (previous or invocation.as_json):
            other = "--previous" if previous else "--json"
            raise UsageError(f"--follow cannot be used with {other}", remedy=f"remove --follow or {other}")
        from leviathan.cluster.client import connect  # noqa: PLC0415 - the Kubernetes client is slow to import
        from leviathan.rollout import engine_log  # noqa: PLC0415

        site = invocation.load_site().site
        cluster = connect(site, os.environ)
        if follow:
            pod = engine_log.follow(site, cluster, invocation.console, write, tail=tail)
            return Report("", {"pod": pod["metadata"]["name"]})
        pod, lines = engine_log.read(site, cluster, previous=previous, tail=tail)
        return Report("\n".join(lines), {"pod": pod["metadata"]["name"], "lines": lines})

    return invocation.finish(read)


command = make_command("logs", HELP)(logs_command)
