"""Checks the kubeconfig, the API server and its version, and the RuntimeClass."""

import re
from collections.abc import Iterator

from leviathan.preflight.check_result import CheckResult, ok, problem, warning
from leviathan.preflight.facts import Facts

#: The versions whose schemas the manifests are tested with. The oldest is the first with stable Pod Security admission.
OLDEST, NEWEST = (1, 25), (1, 37)
RUNTIME_CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


def kubeconfig(facts: Facts) -> Iterator[CheckResult]:
    """Checks that there is a kubeconfig, and that it has the context."""
    cluster = facts.connection
    yield ok(f"context {cluster.context} → {cluster.server}")


def api(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the API server answers and has a supported version."""
    found = facts.version()
    said = str(found.get("gitVersion", "")) or f"v{found.get('major')}.{found.get('minor')}"
    numbers = re.match(r"v(\d+)\.(\d+)", said)
    span = f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"
    if numbers is None:
        yield warning(
            f"expected a version such as v1.34.4 from the API server, got {said[:60]!r}", f"supported: {span}"
        )
        return
    version = (int(numbers[1]), int(numbers[2]))
    if version < OLDEST:
        yield problem(
            f"Kubernetes {said} is too old, supported: {span}",
            "upgrade it; on Talos: talosctl upgrade-k8s --to 1.34.4",
        )
    elif version > NEWEST:
        yield warning(
            f"Kubernetes {said} is newer than the tested versions ({span})", "check the changes first: leviathan diff"
        )
    else:
        yield ok(f"Kubernetes {said}, supported: {span}")


def runtime_class(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the RuntimeClass exists and applies to the node."""
    name = facts.site.cluster.runtime_class
    if not name:
        yield ok("not set: the pod uses the node's default runtime")
        return
    found = facts.get(f"{RUNTIME_CLASSES}/{name}")
    if found is None:
        there = [each["metadata"]["name"] for each in facts.list(RUNTIME_CLASSES)]
        body = (
            f'{{"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{{"name":"{name}"}},"handler":"{name}"}}'
        )
        yield problem(
            f"the RuntimeClass {name} does not exist; existing: {', '.join(there) or 'none'}",
            f"echo '{body}' | kubectl create -f -, if containerd on the node has the handler {name}",
        )
        return
    wanted = (found.get("scheduling") or {}).get("nodeSelector") or {}
    labels = facts.node()["metadata"].get("labels") or {}
    lacking = sorted(f"{key}={value}" for key, value in wanted.items() if labels.get(key) != value)
    if lacking:
        yield problem(
            f"the RuntimeClass {name} needs a node with the labels {', '.join(lacking)}",
            f"kubectl label node {facts.node_name()} {' '.join(lacking)}",
        )
    else:
        yield ok(f"RuntimeClass {name} with the handler {found['handler']}")
