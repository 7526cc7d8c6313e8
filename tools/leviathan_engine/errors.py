"""The errors of this package that a user sees: one line with what is wrong, where, why, and the remedy."""


class EngineError(Exception):
    """A user error: the program ends with this one line and exit code 1.

    Arguments: `message`, one sentence without a full stop: what went wrong, where and why; `remedy`, the command or
    action that fixes it, may be empty. Line breaks in either are replaced by spaces, so the error stays one line.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = " ".join(message.split("\n"))
        self.remedy = " ".join(remedy.split("\n"))
        super().__init__(self.line())

    def line(self) -> str:
        """The whole error as one line."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(EngineError):
    """The command line is wrong: exit code 2, as argparse and every shell tool has it."""

    exit_code = 2


class GgufError(EngineError):
    """A GGUF file cannot be used; the message names the file and the place in it."""


class PlanError(EngineError):
    """The model does not fit the machine; the message says how much is missing, and what to change."""


class DiskError(EngineError):
    """The model's disk was not found or cannot be mounted; the message lists the block devices that were found."""


class CpuError(EngineError):
    """This CPU cannot run any of the builds in the image."""
