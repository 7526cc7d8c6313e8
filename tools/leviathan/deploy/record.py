"""What a deployment did: a record for each phase, the result, and the error with the command that continues."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from leviathan.errors import LeviathanError
from leviathan.terminal.progress import time_text


class State(Enum):
    """How a phase ended."""

    CHANGED = "changed"
    UNCHANGED = "nothing to do"
    PASSED = "passed"
    WOULD = "would change"
    SKIPPED = "skipped"
    FAILED = "failed"
    STOPPED = "stopped"
    RUNNING = "running"
    AHEAD = "not begun"


@dataclass(frozen=True)
class Record:
    """One phase: how it ended, when it began (UTC, ISO 8601), seconds it took, its summary, its whole result."""

    name: str
    state: State
    began: str = ""
    seconds: float = 0.0
    summary: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """The phase in one line."""
        took = f" in {short(self.seconds)}" if self.began and self.state is not State.SKIPPED else ""
        return f"{self.name:<9} {self.state.value}{took}{f': {self.summary}' if self.summary else ''}"

    def data(self) -> dict[str, Any]:
        """The record for programs."""
        return {
            "phase": self.name,
            "state": self.state.value,
            "began": self.began or None,
            "seconds": round(self.seconds, 3),
            "changed": self.state is State.CHANGED,
            "summary": self.summary,
            "result": dict(self.result),
        }


@dataclass(frozen=True)
class Deployed:
    """A deployment that reached its end."""

    records: tuple[Record, ...]
    seconds: float
    dry_run: bool

    @property
    def changed(self) -> bool:
        """Whether anything is different from before."""
        return any(record.state is State.CHANGED for record in self.records)

    def text(self) -> str:
        """A line for each phase, and one for all."""
        took = short(self.seconds)
        if self.dry_run:
            would = [record.name for record in self.records if record.state is State.WOULD]
            last = f"dry run, nothing was changed; {', '.join(would) or 'no phase'} would change something"
        else:
            last = f"deployed in {took}" if self.changed else f"nothing had to be changed ({took})"
        return "\n".join([*(record.line() for record in self.records), last])

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {"changed": self.changed, "dry_run": self.dry_run, **facts(self.records, self.seconds)}


class DeployError(LeviathanError):
    """A phase failed or was stopped. `records` has all phases; `command` continues from there."""

    def __init__(self, error: LeviathanError, records: Sequence[Record], *, seconds: float, command: str) -> None:
        remedy = f"{error.remedy}; then continue with: {command}" if error.remedy else f"continue with: {command}"
        phase = next(record.name for record in records if record.state in (State.FAILED, State.STOPPED))
        super().__init__(f"{phase}: {error.what}", where=error.where, why=error.why, remedy=remedy)
        self.exit_code = error.exit_code
        self.error = error
        self.records = tuple(records)
        self.seconds = seconds
        self.command = command

    def report(self) -> dict[str, Any]:
        """The error for programs, with the failed phase's own and the record of every phase."""
        return {
            **self.error.report(),
            "remedy": self.remedy,
            "exit_code": int(self.exit_code),
            "resume": self.command,
            **facts(self.records, self.seconds),
        }


def short(seconds: float) -> str:
    """A time, with tenths of a second where it is short."""
    return f"{seconds:.1f} s" if seconds < 10 else time_text(seconds)


def facts(records: Sequence[Record], seconds: float) -> dict[str, Any]:
    """What both have for programs."""
    return {"seconds": round(seconds, 3), "phases": [record.data() for record in records]}
