"""`leviathan top`."""

import os
import time

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Show the running endpoint, once a second: requests, tokens a second, time to the first token, cache, memory.

The numbers are those of the engine's /metrics, over the time since the line before. Ctrl-C ends it.

\b
Examples:
  leviathan top
  leviathan top --times 1 --json
  leviathan top --url http://127.0.0.1:30000
"""


@click.option("--url", default="", metavar="URL", help="Another address; the cluster is then left alone.")
@click.option("--every", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between two looks.")
@click.option("--times", type=click.IntRange(0), default=0, help="End after so many looks; 0: go on until Ctrl-C.")
def top_command(invocation: Invocation, url: str, every: float, times: int) -> int:
    """Look again and again."""

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
