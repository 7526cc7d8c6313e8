"""What all commands share: the options for the site and the output, and the way from work to an exit status."""

import functools
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from leviathan.errors import ExitCode, LeviathanError
from leviathan.output import Console, Report, emit
from leviathan.site_load import Loaded, load

INTERNAL = "run it again with --debug and report what it prints"


@dataclass(frozen=True)
class Invocation:
    """One run of a command: where the site comes from, and where the output goes."""

    console: Console
    as_json: bool
    result_file: Path | None
    site_file: Path | None
    settings: tuple[str, ...]
    named: Mapping[str, str]

    def load_site(self) -> Loaded:
        """The site of this run: `--site`, else $LEVIATHAN_SITE, else ./site.toml, with environment and flags on top.

        Errors: UsageError.
        """
        path = self.site_file
        if path is None and os.environ.get("LEVIATHAN_SITE"):
            path = Path(os.environ["LEVIATHAN_SITE"])
        if path is None and Path("site.toml").is_file():
            path = Path("site.toml")
        return load(path, environ=os.environ, settings=self.settings, named=self.named)

    def finish(self, work: Callable[[], Report]) -> int:
        """Do `work`, write its report, and return the exit status; an error becomes a report and one line."""
        try:
            report = work()
            emit(report, as_json=self.as_json, result_file=self.result_file)
            return ExitCode.DONE if report.ok else ExitCode.FAILED
        except LeviathanError as error:
            failure = error
        except BrokenPipeError:
            return ExitCode.FAILED  # the reader of stdout has gone
        except Exception as error:
            failure = LeviathanError("internal error", why=f"{type(error).__name__}: {error}", remedy=INTERNAL)
            failure.__cause__ = error
        if self.console.debugging:
            self.console.say("".join(traceback.format_exception(failure)).rstrip())
        self.console.error(failure)
        report = Report("", {"error": failure.report()}, ok=False)
        try:
            emit(report, as_json=self.as_json, result_file=self.result_file)
        except (LeviathanError, BrokenPipeError) as error:
            self.console.say(f"error: {error}")
        return failure.exit_code


def make_command(name: str, help_text: str, **flags: str) -> Callable[[Callable[..., int]], click.Command]:
    """Make a function of an `Invocation` a command with the shared options.

    Arguments: `help_text`; `flags`, parameter name → `section.key`: options of the command that set a key of the site.
    The function also gets the parameters of the options that stand below this decorator, and returns the exit status.
    """

    def decorate(function: Callable[..., int]) -> click.Command:
        @functools.wraps(function)
        def run(
            as_json: bool,
            result_file: Path | None,
            debug: bool,
            site_file: Path | None,
            settings: tuple[str, ...],
            **others: Any,
        ) -> int:
            named = {key: _text(value) for flag, key in flags.items() if (value := others.pop(flag)) is not None}
            console = Console(debug=debug)
            return function(Invocation(console, as_json, result_file, site_file, settings, named), **others)

        wrapped: Callable[..., int] = run
        for decorator in reversed(SHARED):
            wrapped = decorator(wrapped)
        return click.command(name, help=help_text, context_settings={"help_option_names": ["-h", "--help"]})(wrapped)

    return decorate


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


SHARED = (
    click.option(
        "--site",
        "site_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Site file (else $LEVIATHAN_SITE, else ./site.toml, else the defaults).",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Set one value of the site; may be repeated.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option(
        "--result-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also write the result, or the failure, as JSON to this file.",
    ),
    click.option("--debug", is_flag=True, help="Say more, and show where an error comes from."),
)
