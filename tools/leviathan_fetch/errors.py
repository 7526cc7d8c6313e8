"""The one error of this package that a user sees: a sentence, and the command that helps."""

import errno
import os


class FetchError(Exception):
    """What went wrong, where and why in one line; `remedy` is what to do about it.

    Arguments: `message`, one sentence without a full stop; `remedy`, a command or an action, may be empty.
    `kind` sorts errors for the code that retries or adds context: ``gone``, ``hash``, ``network``, ``proxy``
    (no Go module proxy is in reach), ``disk``, ``other``.
    """

    def __init__(self, message: str, remedy: str = "", kind: str = "other") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.kind = kind

    def line(self) -> str:
        """The whole error as one line."""
        text = " ".join(self.message.split())
        return f"{text}; {' '.join(self.remedy.split())}" if self.remedy else text


def from_system(error: OSError) -> FetchError:
    """The error for what the operating system refused: the path, its words, and a remedy by its kind."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    words = error.strerror or str(error) or type(error).__name__
    what = f"{path} cannot be used: {words}" if path else f"the operating system refuses: {words}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FetchError(what, "free some disk space and run it again", "disk")
    if error.errno in (errno.EACCES, errno.EPERM):
        return FetchError(what, "give it to this user (sudo chown -R USER FOLDER), then run it again")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return FetchError(what, "there is a file in place of a folder: move it away, then run it again")
    if error.errno == errno.EROFS:
        return FetchError(what, "run it in a writable checkout")
    return FetchError(what, "run it with --debug to see where")


class InterruptedFetch(Exception):
    """SIGINT or SIGTERM came: children are to be ended and the exit status is 130."""
