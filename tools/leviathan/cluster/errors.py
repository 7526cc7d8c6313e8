"""The error of all requests to the Kubernetes API, and the fields that the API names in it.

Source: Server-Side Apply, "Conflicts".
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.errors import ExitCode, LayoutError, LeviathanError, RegistryError

#: `conflict with "kubectl" with subresource "scale" using apps/v1`
MANAGER = re.compile(r'conflict with "(?P<manager>[^"]*)"')


@dataclass(frozen=True)
class Cause:
    """One field that the API names in a refusal: machine-readable `reason`, `message`, `field` like .spec.replicas."""

    reason: str
    message: str
    field: str

    @property
    def manager(self) -> str:
        """The manager that owns the field, if the cause is a conflict of field managers; else empty."""
        found = MANAGER.search(self.message)
        return found["manager"] if found else ""


class ClusterError(LeviathanError):
    """The Kubernetes API cannot be reached, refuses a request, or sends an invalid answer.

    Arguments: those of LeviathanError, and `status`, the HTTP status (0: no answer); `reason`, Kubernetes'
    machine-readable reason (NotFound, Conflict, Expired ...; with status 0 one of NoKubeconfig, UnknownContext,
    BadKubeconfig, BadProxy, UnknownHost, Unreachable, TLS, Timeout, ConnectionLost, BadAnswer); `causes`, one per
    field; `retry_after_s`, the seconds that the server asks to wait, or 0.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        why: str = "",
        remedy: str = "",
        status: int = 0,
        reason: str = "",
        causes: Sequence[Cause] = (),
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(what, where=where, why=why, remedy=remedy)
        self.status = status
        self.reason = reason
        self.causes = tuple(causes)
        self.retry_after_s = retry_after_s

    def report(self) -> dict[str, Any]:
        """The error for `--json`, including the API's own words."""
        causes = [{"reason": each.reason, "message": each.message, "field": each.field} for each in self.causes]
        return {**super().report(), "status": self.status, "reason": self.reason, "causes": causes}


@contextlib.contextmanager
def exits(code: ExitCode) -> Iterator[None]:
    """Give cluster, layout and registry errors in this block the exit status `code` of the current phase.

    Layout and registry errors have the exit status of the push by default, but other phases raise them too.
    """
    try:
        yield
    except (ClusterError, LayoutError, RegistryError) as error:
        error.exit_code = code
        raise
