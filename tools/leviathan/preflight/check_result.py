"""The results of checks: ok, warning or problem, with the command that fixes it."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan.errors import ExitCode, LeviathanError


class Level(Enum):
    """The severity of a finding. PROBLEM: the deployment would fail. WARNING: it might fail, or this is unknown."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class CheckResult:
    """One finding: `text`, a sentence; `fix`, the command or action that fixes it, empty if there is no problem."""

    level: Level
    text: str
    fix: str = ""


@dataclass(frozen=True)
class NamedResult:
    """A finding and the check that it comes from."""

    check: str
    finding: CheckResult

    def data(self) -> dict[str, Any]:
        """The finding for programs."""
        found = self.finding
        return {"check": self.check, "level": found.level.value, "text": found.text, "fix": found.fix}


class FactUnavailable(LeviathanError):
    """A fact is unavailable because of a problem that another check reports."""


class PreflightError(LeviathanError):
    """Preflight has found problems."""

    exit_code = ExitCode.PREFLIGHT


def ok(text: str) -> CheckResult:
    """A finding without a problem."""
    return CheckResult(Level.OK, text)


def warning(text: str, fix: str = "") -> CheckResult:
    """A finding that may cause a failure."""
    return CheckResult(Level.WARNING, text, fix)


def problem(text: str, fix: str = "") -> CheckResult:
    """A finding that would stop the deployment."""
    return CheckResult(Level.PROBLEM, text, fix)
