"""A request to the Kubernetes API, as errors and the commands in them name it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """A request, as errors name it: method, API path, the kubeconfig context and the server that it went to."""

    method: str
    path: str
    context: str
    server: str

    @property
    def where(self) -> str:
        """Method, path and server."""
        return f"{self.method} {self.path} on {self.server}"

    @property
    def kubectl(self) -> str:
        """`kubectl` with the same context, to begin a remedy."""
        return f"kubectl --context {self.context}" if self.context else "kubectl"

    @property
    def namespace(self) -> str:
        """The namespace of the path, or empty."""
        found = re.search(r"/namespaces/([^/?]+)", self.path)
        return found[1] if found else ""

    @property
    def resource(self) -> str:
        """The resource of the path in the plural, as `kubectl auth can-i` wants it."""
        steps = re.sub(r"^/(api/[^/]+|apis/[^/]+/[^/]+)/", "", self.path).strip("/").split("/")
        if steps[0] == "namespaces" and len(steps) > 2:
            steps = steps[2:]
        return steps[0]

    @property
    def object(self) -> str:
        """`deployments/name`, or `deployments` where the path names none."""
        name = self.path.split(f"/{self.resource}/", 1)
        return f"{self.resource}/{name[1].split('/')[0]}" if len(name) == 2 else self.resource
