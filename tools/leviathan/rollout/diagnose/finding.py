"""What stands in a rollout's way: one finding a cause, with the sentence that says what to do about it."""

from dataclasses import dataclass
from enum import Enum

from leviathan.site.schema import Site


class Severity(Enum):
    """What a finding means for the rollout.

    FATAL: it does not go away by itself. WAIT: it may, the time-outs decide. NOTE: worth knowing, no obstacle.
    """

    FATAL = "fatal"
    WAIT = "wait"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One cause.

    Arguments: `code`, a word that stays the same for programs; `severity`; `where`, the object; `what`, in our words;
    `why`, in the cluster's words, may be empty; `remedy`, what to do, with the command.
    """

    code: str
    severity: Severity
    where: str
    what: str
    why: str
    remedy: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes two findings of different moments the same one."""
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
    """The commands that remedies name, ready to be pasted."""

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
        """The Deployment as `kubectl` takes it."""
        return f"deployment/{self.site.workload.deployment}"

    @property
    def registry(self) -> str:
        """The registry's address as a URL."""
        return f"{'http' if self.site.registry.plain_http else 'https'}://{self.site.registry.host}"

    @property
    def endpoint(self) -> str:
        """Where the engine answers, as a URL; inside of the cluster where it has no address outside."""
        service = f"{self.site.workload.service}.{self.site.cluster.namespace}"
        return self.site.endpoint or f"http://{service}:{self.site.engine.port}"
