"""Shows a rollout on a terminal: one table that is drawn again in place."""

from types import TracebackType

from rich.console import Console as RichConsole
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from leviathan.output import Console
from leviathan.rollout.finding import Finding, Severity
from leviathan.rollout.objects import Event
from leviathan.rollout.view import Moment, rows, told

EVENTS = 5
STYLE = {Severity.FATAL: "bold red", Severity.WAIT: "yellow", Severity.NOTE: "cyan"}


class LiveTable:
    """The table on the terminal behind `console`; a context manager that leaves its last state standing."""

    def __init__(self, console: Console) -> None:
        self._rich = RichConsole(file=console.stream, highlight=False)
        self._live = Live(console=self._rich, auto_refresh=False, vertical_overflow="ellipsis")

    def __enter__(self) -> "LiveTable":
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, value, trace)

    def show(self, moment: Moment) -> None:
        """Draw this moment."""
        self._live.update(picture(moment), refresh=True)


def picture(moment: Moment) -> Group:
    """The table, the bar of the load, what is in the way, and the last events."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows(moment.snapshot):
        table.add_row(label, Text(text))
    answer = moment.snapshot.answer
    total = answer.body.get("bytes") if answer is not None and not answer.ok else None
    if answer is not None and isinstance(total, int | float) and total:
        table.add_row("", ProgressBar(total=100, completed=float(answer.body.get("percent") or 0), width=40))
    parts: list[Table | Text] = [Text(f"rollout: {moment.line()}", style="bold"), table]
    parts += [_finding(each) for each in moment.findings]
    parts += [_event(each) for each in told(moment.snapshot)[-EVENTS:]]
    return Group(*parts)


def _finding(finding: Finding) -> Text:
    text = Text()
    text.append(f"{finding.severity.value}: ", style=STYLE[finding.severity])
    text.append(finding.text())
    return text


def _event(event: Event) -> Text:
    count = f" (x{event.count})" if event.count > 1 else ""
    text = Text(f"{event.kind.lower()}: {event.reason}{count}: {event.message}", style="dim")
    text.truncate(200, overflow="ellipsis")
    return text
