"""`leviathan bench`."""

import os
from pathlib import Path
from typing import Any

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report, write_atomically

HELP = """Measure an endpoint: prompt lengths, answer lengths, clients at once.

Each request is a streamed chat whose beginning no other one has, so nothing of it is cached. The table has the time to
the first token, the time between tokens (p50, p99), tokens a second of one stream and in all, prompt tokens a second,
and the share of the prompt that the server found in its cache; next to it the plan's bound for the site. Any OpenAI
endpoint will do. An API key comes as for `leviathan smoke`.

\b
Examples:
  leviathan bench
  leviathan bench --prompt 128,2048 --answer 64,256 --clients 1,2,4,8 --svg bench.svg --result-file bench.json
  leviathan bench --compare bench.json
  leviathan bench --url http://127.0.0.1:8000 --model other --compare http://127.0.0.1:30000
"""


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers above 0, separated by commas."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            self.fail(f"expected whole numbers above 0 such as 128,1024, got {value!r}", param, ctx)
        return tuple(int(part) for part in parts)


@click.option("--prompt", "prompts", type=Numbers(), default="128,1024", show_default=True, help="Tokens of prompts.")
@click.option("--answer", "answers", type=Numbers(), default="64", show_default=True, help="Tokens of answers.")
@click.option("--clients", type=Numbers(), default="1,4", show_default=True, help="Clients at once.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Requests of each client.")
@click.option("--url", default="", metavar="URL", help="Another address than the site's.")
@click.option("--model", default="", metavar="NAME", help="Another model's name than engine.model_name.")
@click.option("--compare", default="", metavar="FILE|URL", help="An earlier result, or another endpoint of the model.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Also draw tokens/s over clients here.")
@click.option("--ram-mb-per-s", type=float, help="Rate of the memory, for the plan's bound.")
def bench_command(
    invocation: Invocation,
    prompts: tuple[int, ...],
    answers: tuple[int, ...],
    clients: tuple[int, ...],
    repeat: int,
    url: str,
    model: str,
    compare: str,
    svg: Path | None,
    ram_mb_per_s: float | None,
) -> int:
    """Measure."""

    def measured() -> Report:
        from leviathan.bench.go import go  # noqa: PLC0415 - the HTTP client is slow to import
        from leviathan.bench.svg import picture  # noqa: PLC0415
        from leviathan.bench.sweep import Settings  # noqa: PLC0415

        done = go(
            invocation.load_site().site,
            os.environ,
            invocation.console,
            Settings(prompts, answers, clients, repeat),
            url=url,
            model=model,
            compare=compare,
            ram_mb_per_s=ram_mb_per_s,
        )
        if svg is not None:
            write_atomically(svg, picture(done.data()))
        return Report(done.text(), done.data(), ok=done.ok)

    return invocation.finish(measured)


command = make_command("bench", HELP)(bench_command)
