"""The errors of this package that a user sees: one line that says what, where, why, and what to do about it."""


class ImageError(Exception):
    """A failure that the user can act on; the command prints it as one line and exits with `exit_code`.

    Arguments: `message`, one sentence without a full stop that says what went wrong, where and why; `remedy`, the
    command or action that fixes it, may be empty. Line breaks in either become blanks.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = " ".join(message.split())
        self.remedy = " ".join(remedy.split())
        super().__init__(self.line())

    def line(self) -> str:
        """The whole error as one line."""
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class ToolError(ImageError):
    """An external program that is missing or failed: names it, its status and its last line of stderr."""
