"""`leviathan smoke`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Ask the endpoint what a client would ask, and compare.

Seven checks, all reported: /health, /v1/models, the same greedy completion twice, a streamed chat that adds up, a wrong
request that is refused, the time to the first token and the tokens a second with the site's floors (section smoke).
When all pass, the image's digest is noted on the Deployment, for a rollback to come back to; with --dry-run it is only
said what would be noted. An API key comes from
smoke.api_key_file or $LEVIATHAN_API_KEY.

\b
Examples:
  leviathan smoke
  leviathan smoke --dry-run
  leviathan smoke --rollback-on-failure --result-file smoke.json
  leviathan smoke --url http://127.0.0.1:30000 --set smoke.min_tokens_per_s=8
"""


@click.option("--url", default="", metavar="URL", help="Another address; the cluster is then left alone.")
@click.option("--dry-run", is_flag=True, help="Ask the endpoint, change nothing in the cluster.")
@click.option("--rollback-on-failure", is_flag=True, help="Bring back the image that passed last when a check fails.")
def smoke_command(invocation: Invocation, url: str, rollback_on_failure: bool, dry_run: bool) -> int:
    """Run the smoke test."""

    def smoked() -> Report:
        from leviathan.smoke.suite import run  # noqa: PLC0415 - the HTTP client is slow to import

        done = run(
            invocation.load_site().site,
            os.environ,
            invocation.console,
            url=url,
            rollback_on_failure=rollback_on_failure,
            dry_run=dry_run,
        )
        return Report(done.text(), done.data())

    return invocation.finish(smoked)


command = make_command("smoke", HELP)(smoke_command)
