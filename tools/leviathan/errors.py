"""Exit codes, and the base class of all errors: what is wrong, where, why, and the command that fixes it."""

import re
import socket
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit statuses of `leviathan`. `EXIT_CODES` has the text of each, which `--help` prints."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PREFLIGHT = 3
    PUSH = 4
    MODEL = 5
    APPLY = 6
    ROLLOUT = 7
    SMOKE = 8
    INTERRUPTED = 130


EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.DONE: "success, including nothing to do",
    ExitCode.FAILED: "failed; the last line of stderr says why",
    ExitCode.USAGE: "wrong command line, site file or variable; for diff: differences found",
    ExitCode.PREFLIGHT: "preflight found something that would stop the deployment",
    ExitCode.PUSH: "the image could not be pushed",
    ExitCode.MODEL: "the model is missing, incomplete or wrong",
    ExitCode.APPLY: "the manifests could not be applied, or the cluster refused a change",
    ExitCode.ROLLOUT: "the rollout failed or made no progress in time",
    ExitCode.SMOKE: "the endpoint gives wrong answers or is too slow",
    ExitCode.INTERRUPTED: "stopped by a signal (Ctrl-C)",
}


#: Secrets that must not appear in an error: the credentials of an Authorization header, or the password in a URL.
SECRET = re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=\\-]{3,}|(://[^\s/:@]*:)[^\s/@]+(?=@)")


def masked(text: str) -> str:
    """`text` with each secret replaced by ***: `Bearer ***`, `http://user:***@host`."""
    return SECRET.sub(lambda match: f"{match[1]}{match[2]}***" if match[1] else f"{match[3]}***", text)


class LeviathanError(Exception):
    """A failure that the user can act on; printed as one line.

    Arguments: `what` is wrong; `where` (file, host, object); `why`; `remedy`, the command or action that fixes it. All
    but `what` may be empty. Line breaks become spaces, and secrets become ***. `exit_code` is the exit status of the
    process.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, what: str, *, where: str = "", why: str = "", remedy: str = "") -> None:
        self.what, self.where, self.why, self.remedy = (
            masked(" ".join(part.split())) for part in (what, where, why, remedy)
        )
        super().__init__(self.line())

    def line(self) -> str:
        """The whole error as one line: `what (where): why; fix: remedy`."""
        text = f"{self.what} ({self.where})" if self.where else self.what
        text = f"{text}: {self.why}" if self.why else text
        return f"{text}; fix: {self.remedy}" if self.remedy else text

    def report(self) -> dict[str, str | int]:
        """The error for `--json` and `--result-file`."""
        return {
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "remedy": self.remedy,
            "exit_code": int(self.exit_code),
        }


class UsageError(LeviathanError):
    """The command line, the site file or an environment variable is wrong."""

    exit_code = ExitCode.USAGE


class ProcessError(LeviathanError):
    """A program that this tool runs is missing, timed out or failed; `status` is its exit status, if it has one."""

    def __init__(
        self, what: str, *, where: str = "", why: str = "", remedy: str = "", status: int | None = None
    ) -> None:
        super().__init__(what, where=where, why=why, remedy=remedy)
        self.status = status


class LayoutError(LeviathanError):
    """The OCI image layout is missing, incomplete or damaged."""

    exit_code = ExitCode.PUSH


class RegistryError(LeviathanError):
    """The registry cannot be reached, refuses a request, or breaks the protocol."""

    exit_code = ExitCode.PUSH


class RenderError(LeviathanError):
    """A manifest cannot be rendered, or violates the policy."""


def connection_refused(error: BaseException | None) -> bool:
    """Whether `error`, or an error that caused it, is a refused connection: nothing listens at that address."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def unknown_host(error: BaseException | None) -> bool:
    """Whether `error`, or an error that caused it, is a failed name lookup."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False
