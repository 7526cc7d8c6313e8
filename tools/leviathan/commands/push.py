"""`leviathan push`."""

import os
import threading

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.push.run_in_child import run_in_child
from leviathan.terminal.output import Report

HELP = """Upload the image from its OCI layout to the registry. Needs no container daemon.

Uploads only the blobs that the registry does not have, several in parallel, in chunks, and sets the tag last. After a
broken connection, Ctrl-C or a kill, run the same command again: it resumes, and sends at most one chunk twice if the
registry supports resuming. A second run uploads nothing.

\b
Examples:
  leviathan push
  leviathan push --layout result --registry registry.example:5000 --https
  leviathan push --dry-run --json
"""


@click.option("--dry-run", is_flag=True, help="Show what would be uploaded, but upload nothing.")
@click.option("--parallel", metavar="INTEGER", help="Number of blobs to upload in parallel (push.parallel).")
@click.option("--plain-http/--https", default=None, help="Protocol of the registry (registry.plain_http).")
@click.option("--layout", metavar="FOLDER", help="OCI image layout (image.layout).")
@click.option("--tag", metavar="TAG", help="Tag to set (image.tag).")
@click.option("--repository", metavar="NAME", help="Repository (image.repository).")
@click.option("--registry", metavar="HOST[:PORT]", help="Registry (registry.host).")
def push_command(invocation: Invocation, dry_run: bool) -> int:
    """Run a push in a child process."""

    def work(stop: threading.Event) -> int:
        def pushed() -> Report:
            from leviathan.push.push_image import PushContext, push  # noqa: PLC0415 - the HTTP client is slow to import

            done = push(invocation.load_site().site, PushContext(os.environ, invocation.console, stop), dry_run=dry_run)
            return Report(done.text(), done.data())

        return invocation.finish(pushed)

    return run_in_child(work, invocation.console)


command = make_command(
    "push",
    HELP,
    registry="registry.host",
    repository="image.repository",
    tag="image.tag",
    layout="image.layout",
    plain_http="registry.plain_http",
    parallel="push.parallel",
)(push_command)
