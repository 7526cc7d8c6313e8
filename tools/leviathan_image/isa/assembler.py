"""GNU `as` as the judge: which instructions does it refuse under a given set of extensions?"""

import re
from collections.abc import Collection, Sequence

from leviathan_image.errors import ToolError
from leviathan_image.isa.tools import call

_LISTED = re.compile(r"EXTENSION is combination of[^:]*:(.*?)-mtune", re.DOTALL)
_BASE = "generic64"
_ERROR = re.compile(r"^\{standard input\}:(\d+): Error: (.*)$", re.MULTILINE)


def argv(program: str, march: str) -> list[str]:
    """The command that assembles its input and keeps nothing."""
    return [program, "--64", "--no-warn", f"-march={march}", "-o", "/dev/null", "-"]


class Assembler:
    """GNU `as` by its name or path in `program`. Raises ToolError when it is missing or another assembler."""

    def __init__(self, program: str) -> None:
        self._program = program
        listed = _LISTED.search(call([program, "--help"]).stdout)
        if listed is None:
            raise ToolError(f"{program} does not list x86 extensions in its --help", "name GNU as for x86-64")
        names = [name.strip() for name in listed[1].replace("\n", " ").split(",")]
        self.extensions = tuple(name for name in names if name and not name.startswith("no"))

    def refused(self, lines: Sequence[str], extensions: Collection[str]) -> dict[int, str]:
        """Index of each line of `lines` that the x86-64 baseline with `extensions` does not allow → the reason.

        An extension brings what it stands on (avx2 brings avx); written `noavx2` it goes, with all that stands on it.
        """
        return self._errors("+".join([_BASE, *extensions]), lines)

    def refused_each(self, lines: Sequence[str], trials: Sequence[Collection[str]]) -> list[set[int]]:
        """For each set of extensions in `trials` the indexes of the lines that it does not allow; one process for all,
        since the assembler changes its mind at an `.arch` line.
        """
        text: list[str] = []
        starts = []
        for extensions in trials:
            text += [f".arch {_BASE}", *(f".arch .{name}" for name in extensions)]
            starts.append(len(text))
            text += lines
        errors = self._errors(_BASE, text)
        found = [{number for number in range(len(lines)) if start + number in errors} for start in starts]
        if sum(map(len, found)) != len(errors):
            raise ToolError(f"{self._program} does not take one of its own extensions in .arch", "report this")
        return found

    def _errors(self, march: str, lines: Sequence[str]) -> dict[int, str]:
        done = call(argv(self._program, march), "".join(f"{line}\n" for line in lines))
        found = {int(number) - 1: why for number, why in _ERROR.findall(done.stderr)}
        if bool(found) != bool(done.returncode) or any(number >= len(lines) for number in found):
            last = done.stderr.strip().splitlines()[-1:]
            raise ToolError(f"{self._program} ended with status {done.returncode}: {' '.join(last)}", "report this")
        return found
