"""Shows a rollout on a terminal, as a table that is redrawn in place."""

import re
from types import TracebackType

from rich.console import Console as RichConsole
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from leviathan.cluster.objects import Event
from leviathan.rollout.diagnose.finding import Finding, Severity
from leviathan.rollout.show.view import Moment, rows, told
from leviathan.terminal.output import Console
from leviathan.terminal.plain import plain
from leviathan.terminal.signals import once

EVENTS = 5
STYLE = {Severity.FATAL: "bold red", Severity.WAIT: "yellow", Severity.NOTE: "cyan"}
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
#: Control sequences in messages of the cluster or the engine, which must not reach the terminal. `plain` does the rest.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class LiveTable:
    """The table on the terminal of `console`. On exit, this context manager leaves the complete last state on screen.

    If the window gets narrower, most terminals (VTE, kitty, tmux, Windows Terminal) wrap the lines that are too long,
    so the rows to erase are counted at the current width. On a terminal that cuts lines off instead (xterm), this may
    erase some rows above the table.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rich = RichConsole(file=console.stream, highlight=False)
        self._once = once()  # restore the cursor even after a second Ctrl-C
        self._moment: Moment | None = None
        self._widths: list[int] = []

    def __enter__(self) -> "LiveTable":
        self._once.__enter__()
        try:
            self._console.write(HIDE)
        except BaseException:
            self._console.write(SHOW)
            self._once.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            whole = self._drawing(self._moment, None) + "\n" if self._moment is not None else ""
            self._console.write(whole)
        finally:
            self._console.write(SHOW)
            self._once.__exit__(None, None, None)

    def show(self, moment: Moment) -> None:
        """Draw this moment, cut off at the height of the window."""
        self._moment = moment
        self._console.write(self._drawing(moment, self._rich.height))

    def _drawing(self, moment: Moment, height: int | None) -> str:
        """The output that erases the current table, and draws `moment` in at most `height` lines."""
        width = max(self._rich.width, 1)
        before = sum(max(-(-each // width), 1) for each in self._widths)
        up = f"\x1b[{before - 1}A" if before > 1 else ""
        lines = self._rich.render_lines(picture(moment), pad=False)
        if height is not None and len(lines) > height:
            lines = [*lines[: height - 1], [Segment("...")]]
        self._widths = [Segment.get_line_length(line) for line in lines]
        drawn = [segment for line in lines for segment in (*line, Segment.line())][:-1]
        with self._rich.capture() as captured:
            self._rich.print(Segments(drawn), end="")
        return f"\r{up}\x1b[J{captured.get()}"


def picture(moment: Moment) -> Group:
    """The table, the progress bar of the load, the findings, and the last events."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows(moment.snapshot):
        table.add_row(label, Text(_plain(text)))
    answer = moment.snapshot.answer
    total = answer.body.get("bytes") if answer is not None and not answer.ok else None
    if answer is not None and isinstance(total, int | float) and total:
        table.add_row("", ProgressBar(total=100, completed=float(answer.body.get("percent") or 0), width=40))
    parts: list[Table | Text] = [Text(_plain(f"rollout: {moment.line()}"), style="bold"), table]
    parts += [_finding(each) for each in moment.findings]
    parts += [_event(each) for each in told(moment.snapshot)[-EVENTS:]]
    return Group(*parts)


def _finding(finding: Finding) -> Text:
    text = Text()
    text.append(f"{finding.severity.value}: ", style=STYLE[finding.severity])
    text.append(_plain(finding.text()))
    return text


def _event(event: Event) -> Text:
    count = f" (x{event.count})" if event.count > 1 else ""
    text = Text(_plain(f"{event.kind.lower()}: {event.reason}{count}: {event.message}"), style="dim")
    text.truncate(200, overflow="ellipsis")
    return text


def _plain(text: str) -> str:
    """The text in one line, without control sequences."""
    return plain(CONTROL.sub("", " ".join(text.split())), keep="")
