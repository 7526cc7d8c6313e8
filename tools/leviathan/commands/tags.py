"""`leviathan tags`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """List the tags of the image's repository, in the JSON of `curl REGISTRY/v2/NAME/tags/list`.

\b
Examples:
  leviathan tags
  leviathan tags --registry registry.example:5000 --https --json
"""


#: Retries if nothing listens at the registry's address. A push waits longer, because the registry may be starting.
REFUSALS = 2


@click.option("--plain-http/--https", default=None, help="Protocol of the registry (registry.plain_http).")
@click.option("--repository", metavar="NAME", help="Repository (image.repository).")
@click.option("--registry", metavar="HOST[:PORT]", help="Registry (registry.host).")
def tags_command(invocation: Invocation) -> int:
    """Ask the registry for its tags."""

    def listed() -> Report:
        from leviathan.push.push_image import PushContext, connect  # noqa: PLC0415 - the HTTP client is slow to import
        from leviathan.push.push_result import tags_json  # noqa: PLC0415

        site = invocation.load_site().site
        client = connect(site, PushContext(os.environ, invocation.console), refusals=REFUSALS)
        try:
            tags = tuple(client.tags())
        finally:
            client.transport.close()
        return Report(tags_json(site.image.repository, tags), {"name": site.image.repository, "tags": list(tags)})

    return invocation.finish(listed)


command = make_command(
    "tags", HELP, registry="registry.host", repository="image.repository", plain_http="registry.plain_http"
)(tags_command)
