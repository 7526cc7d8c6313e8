"""What a check finds: fine, worth knowing, or in the way; with the command that fixes it."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan.errors import ExitCode, LeviathanError


class Level(Enum):
    """How bad a finding is. PROBLEM: the deployment would fail; WARNING: it might, or it could not be found out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class CheckResult:
    """What a check found: `text` in a sentence, `fix` the command or action for it, empty where all is well."""

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


class NotAsked(LeviathanError):
    """A fact that cannot be had because something that another check reports stands before it."""


class PreflightError(LeviathanError):
    """Preflight has found problems."""

    exit_code = ExitCode.PREFLIGHT


def ok(text: str) -> CheckResult:
    """All is well."""
    return CheckResult(Level.OK, text)


def warning(text: str, fix: str = "") -> CheckResult:
    """Something worth knowing."""
    return CheckResult(Level.WARNING, text, fix)


def problem(text: str, fix: str = "") -> CheckResult:
    """Something that is in the way."""
    return CheckResult(Level.PROBLEM, text, fix)
