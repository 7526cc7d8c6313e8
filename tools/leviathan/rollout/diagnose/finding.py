"""A finding: one cause that blocks a rollout, and its remedy."""

from dataclasses import dataclass
from enum import Enum

from leviathan.site.schema import Site


class Severity(Enum):
    """What a finding means for the rollout.

    FATAL: permanent, somebody must fix it. WAIT: may be transient, the timeouts decide. NOTE: does not block.
    """

    FATAL = "fatal"
    WAIT = "wait"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One cause.

    Arguments: `code`, a stable identifier for programs; `severity`; `where`, the object; `what`, in our words; `why`,
    in the cluster's words, may be empty; `remedy`, how to fix it, with the command.
    """

    code: str
    severity: Severity
    where: str
    what: str
    why: str
    remedy: str

    @property
    def key(self) -> tuple[str, str]:
        """The identity of a finding across snapshots."""
        return self.code, self.where

    def text(self) -> str:
        """The finding in one line."""
        why = f": {' '.join(self.why.split())}" if self.why else ""
        return f"{self.what} ({self.where}){why}; fix: {self.remedy}"

    def data(self) -> dict[str, str]:
        """The finding for programs."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "where": self.where,
            "what": self.what,
            "why": " ".join(self.why.split()),
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Commands:
    """The commands in remedies, ready to paste."""

    site: Site

    @property
    def cluster(self) -> str:
        """`kubectl` with the site's context."""
        context = self.site.cluster.context
        return f"kubectl --context {context}" if context else "kubectl"

    @property
    def kubectl(self) -> str:
        """`kubectl` with the site's context and namespace."""
        return f"{self.cluster} -n {self.site.cluster.namespace}"

    @property
    def deployment(self) -> str:
        """The Deployment as an argument of `kubectl`."""
        return f"deployment/{self.site.workload.deployment}"

    @property
    def registry(self) -> str:
        """The registry's address as a URL."""
        return f"{'http' if self.site.registry.plain_http else 'https'}://{self.site.registry.host}"

    @property
    def endpoint(self) -> str:
        """The engine's URL; the one inside the cluster if there is none outside."""
        service = f"{self.site.workload.service}.{self.site.cluster.namespace}"
        return self.site.endpoint or f"http://{service}:{self.site.engine.port}"
