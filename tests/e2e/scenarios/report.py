"""What was seen, as JSON, as Markdown, and as a picture of the time it took."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .picture import Bar, bars


@dataclass
class Check:
    """One thing that was to be shown: `begin` and `seconds` in seconds since the report began; `evidence` is free."""

    name: str
    begin: float
    seconds: float = 0.0
    passed: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)


class Report:
    """The checks of a run, and the facts of the machine that it ran on."""

    def __init__(self, facts: dict[str, Any], only: str = "") -> None:
        """`only`: a piece of the names of the faults, interruptions, load and breaks that are wanted; "" for all."""
        self.facts = facts
        self.only = only
        self.checks: list[Check] = []
        self.left_out: list[str] = []
        self.pictures: dict[str, tuple[str, str]] = {}
        self.ended = ""  # why the run did not come to its end
        self.began = time.monotonic()

    def wants(self, name: str) -> bool:
        """Whether a check of this name, one that may be left out, is to be shown."""
        return self.only.lower() in name.lower()

    @contextmanager
    def check(self, name: str) -> Iterator[dict[str, Any]]:
        """A check that passes when its block ends without an error; the block fills in the evidence."""
        one = Check(name, time.monotonic() - self.began)
        self.checks.append(one)
        try:
            yield one.evidence
            one.passed = True
        except Exception as error:
            one.evidence["error"] = f"{type(error).__name__}: {error}"[:2000]
            print(f"e2e: failed: {name}: {cell(one.evidence['error'], 600)}", file=sys.stderr, flush=True)  # noqa: T201
            raise
        finally:
            one.seconds = time.monotonic() - self.began - one.begin

    def attempt(self, name: str, shown: Callable[[dict[str, Any]], None]) -> None:
        """A check, where one of this name is wanted; `shown` gets the evidence to fill in.

        One that fails is noted, and what comes after it is still shown; one that is not wanted is noted as left out.
        """
        if not self.wants(name):
            self.left_out.append(name)
            return
        with suppress(Exception), self.check(name) as seen:
            shown(seen)

    def fault(self, name: str, shown: Callable[[dict[str, Any]], None]) -> None:
        """An attempt of something that goes wrong on purpose."""
        self.attempt(f"fault: {name}", shown)

    def picture(self, name: str, title: str, drawn: str) -> None:
        """A picture in addition to that of the checks: its `name` in the file's, its title for people, and the SVG."""
        self.pictures[name] = title, drawn

    @property
    def passed(self) -> bool:
        """Whether there are checks, each has passed, and the run came to its end."""
        return bool(self.checks) and not self.ended and all(check.passed for check in self.checks)

    def write(self, folder: Path) -> None:
        """Write e2e.json, e2e.md, e2e.svg and the other pictures, e2e-NAME.svg, into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        value = {
            "passed": self.passed,
            "ended": self.ended,
            "facts": self.facts,
            "left out": self.left_out,
            "checks": [asdict(check) for check in self.checks],
        }
        (folder / "e2e.json").write_text(json.dumps(value, indent=1, default=str) + "\n", encoding="utf-8")
        (folder / "e2e.md").write_text(self.markdown(), encoding="utf-8")
        (folder / "e2e.svg").write_text(self.timeline(), encoding="utf-8")
        for name, (_, drawn) in self.pictures.items():
            (folder / f"e2e-{name}.svg").write_text(drawn, encoding="utf-8")

    @property
    def verdict(self) -> str:
        """The result in words: a run that left something out says so with it."""
        word = "passed" if self.passed else "FAILED"
        return f"{word}, of a part: --only {self.only}, {len(self.left_out)} not run" if self.only else word

    def markdown(self) -> str:
        """The report for people."""
        lines = ["# The whole way, on real parts", "", f"**{self.verdict}**", ""]
        lines += [f"- {name}: {value}" for name, value in self.facts.items()]
        lines += [f"- the run did not come to its end: {cell(self.ended, 600)}"] if self.ended else []
        lines += [f"- NOT RUN, left out by --only {self.only}: {name}" for name in self.left_out]
        for name, (title, _) in self.pictures.items():
            lines += ["", f"![{name}](e2e-{name}.svg)", "", f"Above: {title}."]
        lines += ["", "![timeline](e2e.svg)", "", "Above: the checks.", "", "| check | | s |", "|---|---|---:|"]
        lines += [f"| {one.name} | {mark(one)} | {one.seconds:.1f} |" for one in self.checks]
        lines += ["", "## Evidence"]
        for one in self.checks:
            if one.evidence:
                lines += ["", f"### {mark(one)} {one.name}", ""]
                lines += [f"- {key}: {cell(value)}" for key, value in one.evidence.items()]
        return "\n".join(lines) + "\n"

    def timeline(self) -> str:
        """A bar for each check, along the time."""
        return bars([Bar(one.name, one.begin, one.seconds, one.passed) for one in self.checks])


def mark(check: Check) -> str:
    """✓ for a check that passed, ✗ for one that did not."""
    return "✓" if check.passed else "✗"


def cell(value: object, width: int = 160) -> str:
    """A value as a list takes it: one line of printable characters, at most `width`."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))
    return text if len(text) <= width else text[: width - 1] + "…"
