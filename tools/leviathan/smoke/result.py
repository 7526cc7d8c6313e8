"""The result of a smoke test: one entry per check, the measurement, and the error if a check failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan.errors import ExitCode, LeviathanError


class State(Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Wrong(Exception):
    """A check received a wrong answer: `received` describes it in one line."""

    def __init__(self, received: str) -> None:
        super().__init__(received)
        self.received = received


class Unjudged(Wrong):
    """The failure is not about the running image: no connection, or no permission."""


class Missing(Exception):
    """A check cannot run, because another one failed; the text says which."""


@dataclass(frozen=True)
class Checked:
    """The result of one check: its name, its state, what it expects, what it received, and its duration in seconds.

    `judged` is false if the failure is not about the running image.
    """

    name: str
    state: State
    wanted: str
    received: str
    seconds: float
    judged: bool = True

    def line(self) -> str:
        """The check in one line."""
        head = f"{self.state.value:<7} {self.name:<11}"
        return f"{head} {self.received}" if self.state is not State.FAILED else f"{head} {self.words()}"

    def words(self) -> str:
        """What a failed check expected and got."""
        return f"expected {self.wanted}, got {self.received}"

    def data(self) -> dict[str, Any]:
        """The check for programs."""
        return {
            "name": self.name,
            "state": self.state.value,
            "wanted": self.wanted,
            "received": self.received,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Measured:
    """The speed of a streamed answer.

    `first_s`: seconds from the request to the first text; `span_s`: seconds from there to the last text; `tokens` of
    the answer; `pieces`, the events that had text.
    """

    first_s: float
    span_s: float
    tokens: int
    pieces: int

    @property
    def rate(self) -> float | None:
        """Tokens per second after the first; None if all arrived at once, so that the rate cannot be measured."""
        return (self.tokens - 1) / self.span_s if self.tokens > 1 and self.span_s > 0 else None

    def text(self) -> str:
        """The numbers for people."""
        rate = self.rate
        return f"first token {self.first_s:.2f} s" + ("" if rate is None else f", {rate:.2f} tokens/s")

    def data(self) -> dict[str, Any]:
        """The numbers for programs."""
        rate = self.rate
        return {
            "first_token_s": round(self.first_s, 3),
            "tokens_per_s": None if rate is None else round(rate, 2),
            "tokens": self.tokens,
            "pieces": self.pieces,
        }


@dataclass(frozen=True)
class Smoked:
    """The result of a smoke test. `recorded`: what happened to the digest; `changed`: whether the cluster changed."""

    url: str
    model: str
    checks: tuple[Checked, ...]
    measured: Measured | None
    seconds: float
    digest: str = ""
    recorded: str = ""
    changed: bool = False

    def text(self) -> str:
        """The result for people."""
        speed = f"; {self.measured.text()}" if self.measured else ""
        head = f"{self.url} answers as {self.model}: {len(self.checks)} checks passed in {self.seconds:.1f} s{speed}"
        return "\n".join([head, *([self.recorded] if self.recorded else [])])

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {**_facts(self), "digest": self.digest, "recorded": self.recorded, "changed": self.changed}


class SmokeError(LeviathanError):
    """The endpoint gives wrong answers or is too slow. `smoked`: all checks; `rollback`: the result of a rollback."""

    exit_code = ExitCode.SMOKE

    def __init__(self, smoked: Smoked, *, remedy: str, rollback: str = "") -> None:
        self.smoked = smoked
        self.rollback = rollback
        bad = failed(smoked.checks)
        also = ", ".join(check.name for check in bad[1:])
        why = "; ".join(
            [bad[0].words(), *([f"also failed: {also}"] if also else []), *([rollback] if rollback else [])]
        )
        count = "" if len(bad) == 1 else f" ({len(bad)} of {len(smoked.checks)} checks failed)"
        super().__init__(f"smoke check {bad[0].name} failed{count}", where=smoked.url, why=why, remedy=remedy)

    def report(self) -> dict[str, Any]:
        """The error for programs, with every check."""
        return {**super().report(), **_facts(self.smoked), "rollback": self.rollback}


def failed(checks: Sequence[Checked]) -> list[Checked]:
    """The checks that failed."""
    return [check for check in checks if check.state is State.FAILED]


def _facts(smoked: Smoked) -> dict[str, Any]:
    return {
        "url": smoked.url,
        "model": smoked.model,
        "checks": [check.data() for check in smoked.checks],
        "measured": smoked.measured.data() if smoked.measured else None,
        "seconds": round(smoked.seconds, 3),
    }
