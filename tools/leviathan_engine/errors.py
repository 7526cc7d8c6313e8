"""The errors of this package that a user sees: one line that says what, where, why, and what to do about it."""


class EngineError(Exception):
    """A user error: the program ends with this one line and exit code 1.

    Arguments: `message`, one sentence without a full stop that says what went wrong, where and why; `remedy`, the
    command or action that fixes it, may be empty. Line breaks in either become blanks, so the error stays one line.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = " ".join(message.split("\n"))
        self.remedy = " ".join(remedy.split("\n"))
        super().__init__(self.line())

    def line(self) -> str:
        """The whole error as one line."""
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class UsageError(EngineError):
    """The command line is wrong: exit code 2, as argparse and every shell tool has it."""

    exit_code = 2


class GgufError(EngineError):
    """A GGUF file that cannot be used: names the file, the place in it, and what to download or convert again."""


class PlanError(EngineError):
    """A model that does not fit the machine: says by how much, and what to change."""


class DiskError(EngineError):
    """No model disk: says which block devices were found and what they hold."""


class CpuError(EngineError):
    """This CPU cannot run any of the builds in the image."""
