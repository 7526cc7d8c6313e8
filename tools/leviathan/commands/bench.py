"""`leviathan bench`."""

import os
from pathlib import Path
from typing import Any

import click

from leviathan.cli.numbers import IntegerOption, NumberOption
from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report, write_atomically

HELP = """Benchmark an endpoint over prompt lengths, answer lengths and numbers of concurrent clients.

Each request is a streamed chat with a unique beginning, so that no prefix of it is cached. The table shows time to
first token, time between tokens (p50, p99), tokens per second of one stream and of all, prompt tokens per second, the
share of the prompt that the server had cached, and the speed that the plan expects for this site. Works with any
OpenAI-compatible endpoint. The API key comes from smoke.api_key_file or $LEVIATHAN_API_KEY.

\b
Examples:
  leviathan bench
  leviathan bench --prompt 128,2048 --answer 64,256 --clients 1,2,4,8 --svg bench.svg --result-file bench.json
  leviathan bench --compare bench.json
  leviathan bench --url http://127.0.0.1:8000 --model other --compare http://127.0.0.1:30000
"""


class Numbers(click.ParamType[tuple[int, ...]]):
    """Positive integers, separated by commas."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The integers of `value`. Errors: click.BadParameter."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            self.fail(f"expected positive integers such as 128,1024, got {value!r}", param, ctx)
        return tuple(int(part) for part in parts)


@click.option(
    "--prompt", "prompts", type=Numbers(), default="128,1024", show_default=True, help="Prompt lengths in tokens."
)
@click.option("--answer", "answers", type=Numbers(), default="64", show_default=True, help="Answer lengths in tokens.")
@click.option("--clients", type=Numbers(), default="1,4", show_default=True, help="Numbers of concurrent clients.")
@click.option("--repeat", type=IntegerOption(1, example=5), default=3, show_default=True, help="Requests per client.")
@click.option("--url", default="", metavar="URL", help="Endpoint to measure instead of the site's.")
@click.option("--model", default="", metavar="NAME", help="Model name to request instead of engine.model_name.")
@click.option("--compare", default="", metavar="FILE|URL", help="Earlier result file, or second endpoint, to compare.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Also plot tokens/s over clients here.")
@click.option(
    "--ram-mb-per-s",
    type=NumberOption(1, example=300_000),
    metavar="MB/S",
    help="Memory bandwidth of the node, for the expected speed.",
)
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
    """Run the benchmark."""

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
