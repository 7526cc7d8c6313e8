"""Exit codes, and the one error base: what went wrong, where, why, and the command or action that fixes it."""

import re
import socket
from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit status of `leviathan` means. Each member's text is in `EXIT_CODES`, which `--help` prints."""

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
    ExitCode.DONE: "done, or nothing to do",
    ExitCode.FAILED: "failed; the reason is the last line of stderr",
    ExitCode.USAGE: "usage: a wrong command line, site file or variable; of diff: differences",
    ExitCode.PREFLIGHT: "preflight found something that would stop the deployment",
    ExitCode.PUSH: "the image could not be pushed",
    ExitCode.MODEL: "the model is missing, incomplete or wrong",
    ExitCode.APPLY: "the manifests could not be applied, or the cluster refused a change",
    ExitCode.ROLLOUT: "the rollout failed or made no progress in time",
    ExitCode.SMOKE: "the endpoint answers wrongly or too slowly",
    ExitCode.INTERRUPTED: "stopped by a signal (Ctrl-C)",
}


#: What must not be in an error's text: the credentials of an Authorization header, or the password in an address.
SECRET = re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=\\-]{3,}|(://[^\s/:@]*:)[^\s/@]+(?=@)")


def masked(text: str) -> str:
    """`text` with *** for credentials in it: `Bearer ***`, `http://user:***@host`."""
    return SECRET.sub(lambda found: f"{found[1]}{found[2]}***" if found[1] else f"{found[3]}***", text)


class LeviathanError(Exception):
    """A failure that the user can act on; printed as one line.

    Arguments: `what` went wrong; `where` (file, host, object), may be empty; `why`, may be empty; `remedy`, the command
    or action that fixes it, may be empty. Line breaks in them become blanks, and credentials in
    them stars. `exit_code` is the process's status.
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
    """A program that this tool runs is missing, ran too long or failed; `status` is its exit status, if it had one."""

    def __init__(
        self, what: str, *, where: str = "", why: str = "", remedy: str = "", status: int | None = None
    ) -> None:
        super().__init__(what, where=where, why=why, remedy=remedy)
        self.status = status


class LayoutError(LeviathanError):
    """The OCI image layout is missing, incomplete or damaged."""

    exit_code = ExitCode.PUSH


class RegistryError(LeviathanError):
    """The registry cannot be reached, refuses, or breaks the protocol."""

    exit_code = ExitCode.PUSH


class RenderError(LeviathanError):
    """A manifest cannot be rendered, or breaks the policy."""


def unknown_host(error: BaseException | None) -> bool:
    """Whether an error of a connection, or what caused it, is that a name did not resolve."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False
