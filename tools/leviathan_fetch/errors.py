"""The one error of this package that a user sees: a sentence, and the command that helps."""


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


class InterruptedFetch(Exception):
    """SIGINT or SIGTERM came: children are to be ended and the exit status is 130."""
