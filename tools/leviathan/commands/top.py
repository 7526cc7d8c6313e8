"""`leviathan top`."""

import os
import time

import click

from leviathan.cli.numbers import IntegerOption, NumberOption
from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Show live numbers of the endpoint: requests, tokens per second, time to first token, cache, memory.

Prints one line per second. The numbers come from the engine's /metrics, and rates cover the time since the previous
line. Stop it with Ctrl-C.

\b
Examples:
  leviathan top
  leviathan top --times 1 --json
  leviathan top --url http://127.0.0.1:30000
"""


@click.option("--url", default="", metavar="URL", help="Read this endpoint instead, without the cluster.")
@click.option(
    "--every", type=NumberOption(0.1, example=5), default=1.0, show_default=True, help="Seconds between two lines."
)
@click.option(
    "--times", type=IntegerOption(0, example=10), default=0, help="Stop after this many lines; 0: run until Ctrl-C."
)
def top_command(invocation: Invocation, url: str, every: float, times: int) -> int:
    """Print a line of metrics at each interval."""

    def watched() -> Report:
        from contextlib import nullcontext  # noqa: PLC0415 - as the rest

        from leviathan.cluster.client import connect  # noqa: PLC0415 - slow to import
        from leviathan.cluster.port_forward import endpoint_of  # noqa: PLC0415
        from leviathan.rollout.show.metrics_line import HEAD, Look, line, look  # noqa: PLC0415

        site = invocation.load_site().site
        last: Look | None = None
        looks = 0
        with nullcontext(url.rstrip("/")) if url else endpoint_of(site, lambda: connect(site, os.environ)) as where:
            while True:
                now = look(where, time.monotonic)
                text = line(now, last)
                looks += 1
                if looks == times:
                    return Report(f"{HEAD}\n{text}", {"url": where, "metrics": dict(now.metrics), "changed": False})
                if looks % 20 == 1:
                    invocation.console.say(HEAD)
                invocation.console.say(text)
                last = now
                time.sleep(every)

    return invocation.finish(watched)


command = make_command("top", HELP)(top_command)
