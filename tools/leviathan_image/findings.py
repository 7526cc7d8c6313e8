"""What a check found wrong, and how all of it is printed at once."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One thing that is wrong.

    Arguments: `check`, the rule's name; `where`, a path in the image (absolute, as the container sees it), a layer or a
    table; `what`, the observation; `remedy`, what makes the check pass, may be empty.
    """

    check: str
    where: str
    what: str
    remedy: str = ""

    def line(self) -> str:
        """The finding as one line of text."""
        text = " ".join(f"{self.check}: {self.where}: {self.what}".split())
        return f"{text} ({' '.join(self.remedy.split())})" if self.remedy else text


def report(name: str, findings: Iterable[Finding], facts: Sequence[str], *, as_json: bool) -> int:
    """Print the result of one check to stdout, all findings at once, and return the exit status: 0 clean, 1 not.

    Arguments: `name` of the check; `facts`, lines that say what was looked at (so that "clean" cannot mean "nothing
    was read"); `as_json` prints `{"check", "ok", "facts", "findings"}` instead of text.
    """
    found = sorted(set(findings))
    if as_json:
        document = {"check": name, "ok": not found, "facts": list(facts), "findings": [asdict(f) for f in found]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 1 if found else 0
    for fact in facts:
        sys.stdout.write(f"{fact}\n")
    for finding in found:
        sys.stdout.write(f"{finding.line()}\n")
    sys.stdout.write(f"{name}: {len(found)} finding{'' if len(found) == 1 else 's'}\n" if found else f"{name}: ok\n")
    return 1 if found else 0
