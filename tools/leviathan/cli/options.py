"""What all commands share: the options for the site and the output, and the way from work to an exit status."""

import functools
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from leviathan.errors import ExitCode, LeviathanError, masked
from leviathan.site.load import Loaded, load
from leviathan.terminal.output import Console, Report, emit, failed, interrupted, write_atomically

INTERNAL = "run it again with --debug and report what it prints"
#: Why a result file has no result, and what then to do.
NOT_ENDED = {"why": "the command is at work, or was killed", "remedy": "wait for it, or run it again"}


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
        loaded = load(path, environ=os.environ, settings=self.settings, named=self.named)
        for note in loaded.notes:
            self.console.say(f"note: {note}")
        return loaded

    def finish(self, work: Callable[[], Report]) -> int:
        """Do `work`, write its report, and return the exit status; an error becomes a report and one line.

        Before it, a report that the command has not ended goes to the result file: where that cannot be written no work
        is done, and whatever ends the process, no earlier run's success stays there.
        """
        try:
            if self.result_file is not None:
                write_atomically(self.result_file, failed(LeviathanError("not ended", **NOT_ENDED)).json() + "\n")
        except LeviathanError as error:
            self.console.error(error)
            return replace(self, result_file=None)._deliver(failed(error), error.exit_code)
        try:
            report = work()
            return self._deliver(report, ExitCode.DONE if report.ok else ExitCode.FAILED)
        except LeviathanError as error:
            failure = error
        except BrokenPipeError:
            return ExitCode.FAILED  # the reader of stdout has gone
        except KeyboardInterrupt:
            self.console.clear()
            self.console.say("stopped")
            return self._deliver(failed(interrupted()), ExitCode.INTERRUPTED)
        except Exception as error:
            failure = LeviathanError("internal error", why=f"{type(error).__name__}: {error}", remedy=INTERNAL)
            failure.__cause__ = error
        if self.console.debugging:
            self.console.say(masked("".join(traceback.format_exception(failure)).rstrip()))
        self.console.error(failure)
        return self._deliver(failed(failure), failure.exit_code)

    def _deliver(self, report: Report, status: ExitCode) -> int:
        """Write the report; the exit status is `status`, or FAILED where that says success and it cannot be written."""
        try:
            emit(report, as_json=self.as_json, result_file=self.result_file)
        except LeviathanError as error:
            self.console.error(error)
        except BrokenPipeError:
            pass  # the reader of stdout has gone
        else:
            return status
        return status or ExitCode.FAILED


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
