"""What all commands share: options for the site and the output, and how work becomes an exit status."""

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

INTERNAL = "run the command again with --debug and report what it prints"
#: What the result file says until the command has finished.
NOT_ENDED = {"why": "the command is still running, or was killed", "remedy": "wait for it, or run it again"}


@dataclass(frozen=True)
class Invocation:
    """One run of a command: where its site comes from, and where its output goes."""

    console: Console
    as_json: bool
    result_file: Path | None
    site_file: Path | None
    settings: tuple[str, ...]
    named: Mapping[str, str]

    def load_site(self) -> Loaded:
        """Load the site from `--site`, else $LEVIATHAN_SITE, else ./site.toml. Environment and flags override the file.

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
        """Run `work`, write its report, and return the exit status. An error becomes a report and one line on stderr.

        First writes "not finished" to the result file, so that a killed run never leaves the success of an earlier run
        there. If that write fails, `work` does not run.
        """
        try:
            if self.result_file is not None:
                write_atomically(self.result_file, failed(LeviathanError("not finished", **NOT_ENDED)).json() + "\n")
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
        """Write the report and return `status`; FAILED if `status` means success but the report cannot be written."""
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
    """Decorator that turns a function of an `Invocation` into a click command with the shared options.

    Arguments: `help_text`; `flags`, parameter name → `section.key`, for options that set a key of the site. The
    function also gets the values of the options declared below this decorator, and returns the exit status.
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
        help="Site file. Without it: $LEVIATHAN_SITE, then ./site.toml, then the defaults.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Override one value of the site; may be repeated.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option(
        "--result-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also write the result or the error as JSON to this file.",
    ),
    click.option("--debug", is_flag=True, help="Print debug messages, and tracebacks of errors."),
)
