"""One error base, printed as nvcc prints its own."""

from __future__ import annotations


class NvccError(Exception):
    """A failure with one clear line and an exit code.

    Arguments:
        message: what, where, why and the remedy, in one line without a final newline.
        code: exit status of the process; nvcc itself uses 1 for everything it refuses.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    def line(self) -> str:
        """The line for stderr, in nvcc's own form (``nvcc fatal   : ...``)."""
        return f"nvcc fatal   : {self.message}"


class ToolFailed(Exception):
    """A tool that was started (clang, ptxas, the linker) failed; it has already said why on stderr.

    Arguments:
        code: its exit status, or 128 + the signal that ended it.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"exit status {code}")
        self.code = code
