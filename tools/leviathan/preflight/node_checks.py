"""Checks the node: it exists, is Ready, admits the pod, and has enough free resources."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leviathan.manifests.files import Object
from leviathan.preflight.check_result import CheckResult, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.preflight.node_resources import allocatable, amount, requested, shown
from leviathan.site.keys import nearest

HOSTNAME = "kubernetes.io/hostname"
#: Taints that only repeat the node's conditions and spec.
REPEATING = ("node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def node(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the node exists, is Ready and not cordoned, and that the pod tolerates its taints."""
    if not facts.site.cluster.node and not facts.fitting_nodes():
        yield problem(
            f"no node has the labels {', '.join(facts.site.cluster.node_labels) or '(there is no node at all)'}",
            "kubectl get nodes --show-labels, then correct cluster.node_labels",
        )
        return
    name = facts.node_name()
    found = facts.get(f"/api/v1/nodes/{name}")
    if found is None:
        names = [each["metadata"]["name"] for each in facts.list("/api/v1/nodes")]
        near = nearest(name, names) or next(iter(names), "NAME")
        yield problem(
            f"the node {name} does not exist; existing: {', '.join(names) or 'none'}",
            f"leviathan preflight --set cluster.node={near}",
        )
        return
    status, spec, labels = found["status"], found["spec"], found["metadata"].get("labels") or {}
    findings = [
        *_ready(name, facts.site.cluster.address, status),
        *_taints(name, spec, facts.pod_spec().get("tolerations") or []),
    ]
    if spec.get("unschedulable"):
        findings.append(problem(f"{name} is cordoned, so it accepts no new pods", f"kubectl uncordon {name}"))
    if facts.site.cluster.node and labels.get(HOSTNAME) != name:
        findings.append(
            problem(
                f"{name} has the label {HOSTNAME}={labels.get(HOSTNAME, '')}, but the pod selects {HOSTNAME}={name}",
                f"leviathan preflight --set cluster.node={labels.get(HOSTNAME) or name}, or kubectl label node {name} "
                f"{HOSTNAME}={name} --overwrite",
            )
        )
    machine = status.get("nodeInfo", {}).get("architecture", "amd64")
    if machine != "amd64":
        fix = "kubectl get nodes -l kubernetes.io/arch=amd64, then leviathan preflight --set cluster.node=NAME"
        findings.append(problem(f"{name} has the architecture {machine}, but the image is for amd64", fix))
    info = status.get("nodeInfo", {})
    what = ", ".join(
        filter(None, (info.get("osImage"), info.get("kubeletVersion"), info.get("containerRuntimeVersion")))
    )
    yield from findings or [ok(f"{name} is Ready{f' ({what})' if what else ''}")]


def _ready(name: str, address: str, status: Mapping[str, Any]) -> Iterator[CheckResult]:
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    ready = conditions.get("Ready", {})
    if ready.get("status") != "True":
        why = ": ".join(filter(None, (str(ready.get("reason", "")), str(ready.get("message", "")))))
        yield problem(
            f"{name} is not Ready{f' ({why})' if why else ''}",
            f"kubectl describe node {name}; on Talos: talosctl -n {address} service kubelet",
        )
    for kind in PRESSURES:
        if conditions.get(kind, {}).get("status") == "True":
            yield warning(f"{name} has {kind}: {conditions[kind].get('message', '')}", f"kubectl describe node {name}")


def _taints(name: str, spec: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> Iterator[CheckResult]:
    for taint in spec.get("taints") or []:
        if taint["effect"] == "PreferNoSchedule" or taint["key"] in REPEATING:
            continue
        if not any(tolerates(each, taint) for each in tolerations):
            value = f"={taint['value']}" if taint.get("value") else ""
            text = f"{taint['key']}{value}:{taint['effect']}"
            yield problem(
                f"{name} has the taint {text}, which the pod does not tolerate",
                f"kubectl taint node {name} {text}-, or add a toleration to the manifests",
            )


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Whether a toleration covers a taint. Source: Kubernetes, "Taints and Tolerations"."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    exists = str(toleration.get("operator", "Equal")) == "Exists"
    if not toleration.get("key"):
        return exists
    same = str(toleration.get("value", "")) == str(taint.get("value", ""))
    return str(toleration["key"]) == str(taint["key"]) and (exists or same)


def gpus(facts: Facts) -> Iterator[CheckResult]:
    """Checks that enough GPUs are free."""
    gpu = facts.site.resources.gpu_resource
    offered = allocatable(facts.node(), gpu)
    if not offered:
        none = "does not offer the resource" if offered is None else "offers 0 of"
        yield problem(
            f"{facts.node_name()} {none} {gpu}: the device plugin or the driver is missing",
            "kubectl get pods -A -o wide | grep -i nvidia; on Talos, check the NVIDIA extensions and kernel modules: "
            f"talosctl -n {facts.site.cluster.address} get extensions",
        )
        return
    yield _room(facts, gpu, str(facts.site.resources.gpus), "--set resources.gpus=N --set engine.gpu_split=MB,...")


def cpu(facts: Facts) -> Iterator[CheckResult]:
    """Checks that enough CPU is free for the request."""
    yield _room(facts, "cpu", facts.site.resources.cpu_request, "--set resources.cpu_request=N")


def memory(facts: Facts) -> Iterator[CheckResult]:
    """Checks that enough memory is free for the request, and that the limit does not exceed the node's memory."""
    resources = facts.site.resources
    yield _room(facts, "memory", resources.memory_request, "--set resources.memory_request=N")
    offered = allocatable(facts.node(), "memory")
    if offered is not None and amount(resources.memory_limit) > offered:
        have = shown(offered, "memory")
        yield warning(
            f"resources.memory_limit = {resources.memory_limit} is more than the node's {have}, so the kernel may kill "
            "the engine or other processes before the limit is reached",
            f"leviathan preflight --set resources.memory_limit={int(offered / 2**30)}Gi",
        )


def _room(facts: Facts, resource: str, wanted: str, less: str) -> CheckResult:
    """Whether the node has `wanted` of a resource free. The engine's old pod does not count, because it ends first."""
    offered = allocatable(facts.node(), resource) or amount(0)
    taken = [(requested(pod, resource), pod) for pod in facts.pods_on_node() if not _ours(facts, pod)]
    free = offered - sum((each for each, _ in taken), amount(0))
    want = amount(wanted)
    have = f"{shown(free, resource)} of {shown(offered, resource)} free"
    if want <= free:
        return ok(f"{resource}: {shown(want, resource)} needed, {have}")
    biggest = sorted(((each, pod) for each, pod in taken if each), key=lambda pair: -pair[0])[:3]
    holders = ", ".join(f"{_name(pod)} uses {shown(each, resource)}" for each, pod in biggest)
    stop = (
        f"kubectl -n {biggest[0][1]['metadata']['namespace']} delete pod {biggest[0][1]['metadata']['name']}, "
        if (biggest)
        else ""
    )
    return problem(
        f"{resource}: {shown(want, resource)} needed, {have}{f' ({holders})' if holders else ''}",
        f"{stop}{'or ' if stop else ''}request less: leviathan preflight {less}",
    )


def _ours(facts: Facts, pod: Object) -> bool:
    """Whether a pod is the engine's own, which ends before the new one starts (strategy Recreate)."""
    meta = pod["metadata"]
    labels = meta.get("labels") or {}
    return meta["namespace"] == facts.site.cluster.namespace and labels.get("app") == facts.site.workload.app


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
