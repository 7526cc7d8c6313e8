"""Shows a rollout as plain lines, if stderr is not a terminal: changes, and a heartbeat in between."""

from types import TracebackType

from leviathan.rollout.diagnose.finding import Finding
from leviathan.rollout.show.view import Moment, told
from leviathan.rollout.stage import Stage, stage_of
from leviathan.terminal.output import Console


class Lines:
    """Prints each change once. Arguments: `console`; `heartbeat_s`, seconds after which the state is printed again."""

    def __init__(self, console: Console, heartbeat_s: float) -> None:
        self.console = console
        self.heartbeat_s = heartbeat_s
        self._stage: tuple[Stage, bool] | None = None
        self._findings: dict[tuple[str, str], Finding] = {}
        self._events: set[tuple[str, str, str]] | None = None
        self._said_at = 0.0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, moment: Moment) -> None:
        """Print what is new in this moment."""
        self._show_events(moment)
        now = {each.key: each for each in moment.findings}
        for key, finding in now.items():
            if key not in self._findings or self._findings[key].what != finding.what:
                self._say(moment, f"  {finding.severity.value}: {finding.text()}")
        for key, finding in self._findings.items():
            if key not in now:
                self._say(moment, f"  resolved: {finding.what} ({finding.where})")
        self._findings = now
        stage = stage_of(moment.snapshot), moment.snapshot.answer is not None
        if stage != self._stage or moment.elapsed_s - self._said_at >= self.heartbeat_s:
            self._stage = stage
            self._say(moment, f"rollout: {moment.line()}")

    def _show_events(self, moment: Moment) -> None:
        events = told(moment.snapshot)
        if self._events is None:  # earlier events are not new, but those of the newest pod are useful
            pod = moment.snapshot.pod
            uid = pod["metadata"].get("uid") if pod else ""
            self._events = {_key(event.uid, event.reason, event.message) for event in events if event.uid != uid}
        for event in events:
            key = _key(event.uid, event.reason, event.message)
            if key not in self._events:
                self._events.add(key)
                self._say(moment, f"  event: {event.kind.lower()}/{event.name}: {event.reason}: {event.message}")

    def _say(self, moment: Moment, text: str) -> None:
        self._said_at = moment.elapsed_s
        self.console.say(text)


def _key(uid: str, reason: str, message: str) -> tuple[str, str, str]:
    return uid, reason, message
