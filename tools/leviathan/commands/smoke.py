"""`leviathan smoke`."""

import os

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Run smoke tests against the endpoint.

Runs seven checks and reports all of them: /health, /v1/models, one greedy completion twice with equal answers, a
streamed chat with correct counts, an invalid request that must be refused, time to first token, and tokens per second.
The limits for the last two are in the site's section smoke. If all checks pass, records the image's digest on the
Deployment, as the image that a rollback chooses. The API key comes from smoke.api_key_file or $LEVIATHAN_API_KEY.

\b
Examples:
  leviathan smoke
  leviathan smoke --dry-run
  leviathan smoke --rollback-on-failure --result-file smoke.json
  leviathan smoke --url http://127.0.0.1:30000 --set smoke.min_tokens_per_s=8
"""


@click.option("--url", default="", metavar="URL", help="Test this endpoint instead, without the cluster.")
@click.option("--dry-run", is_flag=True, help="Run the checks, but change nothing in the cluster.")
@click.option("--rollback-on-failure", is_flag=True, help="If a check fails, roll back to the last image that passed.")
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
