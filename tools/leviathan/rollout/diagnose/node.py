"""Finds problems of the node: missing, not ready, under pressure; and pods that it refused or evicted."""

from collections.abc import Iterator

from leviathan.cluster.objects import Object, condition, container_of, has_ended, is_ending, is_true, state_of
from leviathan.rollout.diagnose.cases import Case, explain
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot, title

PRESSURES = {
    "MemoryPressure": ("memory", "{cluster} top pods -A --sort-by=memory; delete pods that use it up"),
    "DiskPressure": (
        "disk space",
        "talosctl -n {address} usage /var --depth 2; the kubelet removes unused images automatically",
    ),
    "PIDPressure": ("process ids", "{cluster} get pods -A --field-selector spec.nodeName={node}"),
}
LOST = (
    Case(
        r"Evicted.*low on resource: (?P<resource>[\w/-]+)|Evicted.*usage of (?P<volume>EmptyDir volume \S+)",
        "evicted",
        Severity.FATAL,
        "the node evicted the pod, because {resource}{volume} ran short",
        "{cluster} describe node {node}; for memory, raise resources.memory_request (now {memory_request}) or delete"
        " other pods there; for ephemeral-storage, free the node's disk; then {kubectl} delete {where}",
    ),
    Case(
        r"(UnexpectedAdmissionError|OutOf).*(?P<resource>nvidia\.com/gpu)",
        "gpu-refused",
        Severity.FATAL,
        "the node refuses the pod: it does not have the {gpus} GPUs that the scheduler assumed",
        "{cluster} describe node {node} | grep {gpu_resource}; restart the device plugin: {cluster} get pods -A | grep"
        " -i device-plugin; then {kubectl} delete {where}",
    ),
    Case(
        r"OutOf(?P<resource>\S+)",
        "node-refused",
        Severity.FATAL,
        "the node refuses the pod: not enough {resource}",
        "{cluster} get pods -A --field-selector spec.nodeName={node}; {cluster} describe node {node}",
    ),
    Case(
        r"NodePorts",
        "host-port-taken",
        Severity.FATAL,
        "the node refuses the pod: its host port is already in use",
        "{cluster} get pods -A --field-selector spec.nodeName={node} -o wide, then free it or change engine.port",
    ),
    Case(
        r"NodeAffinity|Predicate",
        "node-refused",
        Severity.FATAL,
        "the node refuses the pod: it no longer has the label that the pod selects",
        "{cluster} get node {node} --show-labels",
    ),
    Case(
        r"node shutdown|NodeShutdown|Shutdown",
        "node-shutdown",
        Severity.WAIT,
        "the node was shut down while the pod was running",
        "wait until {node} is back: {cluster} get node {node} -w",
    ),
    Case(
        r"Preempt",
        "preempted",
        Severity.FATAL,
        "the pod was preempted by a pod with a higher priority",
        "{cluster} get pods -A --field-selector spec.nodeName={node}",
    ),
    Case(r"", "pod-failed", Severity.FATAL, "the pod has failed", "{kubectl} describe {where}"),
)


def node_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about the site's node."""
    node = snapshot.node
    name = node["metadata"]["name"] if node else commands.site.where
    where = f"node/{name}"
    if node is None:
        if "nodes" not in snapshot.unreadable:
            remedy = f"{commands.cluster} get nodes --show-labels, then leviathan apply --set cluster.node=NAME"
            yield Finding("no-node", Severity.FATAL, where, "the node does not exist", "", remedy)
        return
    address = commands.site.cluster.address
    known = {"cluster": commands.cluster, "node": name, "address": address}
    if not is_true(node, "Ready"):
        ready = condition(node, "Ready")
        yield Finding(
            "node-not-ready",
            Severity.WAIT,
            where,
            "the node is not ready",
            str(ready.get("message") or ready.get("reason") or ""),
            f"{commands.cluster} describe {where}; talosctl -n {address} services kubelet",
        )
    for kind, (what, remedy) in PRESSURES.items():
        if is_true(node, kind):
            why = str(condition(node, kind).get("message", ""))
            text = f"the node is short of {what}"
            yield Finding("node-pressure", Severity.WAIT, where, text, why, remedy.format_map(known))


def lost_pod_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Pods of the newest revision that the node refused or ended; fatal if it is the only pod, or the second one."""
    lost = [pod for pod in snapshot.new_pods if has_ended(pod) or _evicted(pod)]
    if not lost or snapshot.ready:
        return
    pod = lost[-1]
    found = explain(LOST, _reason(pod), title(pod), commands)
    severity = found.severity if snapshot.pod is None or len(lost) > 1 else Severity.WAIT
    yield Finding(found.code, severity, found.where, found.what, found.why, found.remedy)


def _evicted(pod: Object) -> bool:
    return is_ending(pod) and condition(pod, "DisruptionTarget").get("status") == "True"


def _reason(pod: Object) -> str:
    """Why the pod ended. Newer kubelets leave `reason` empty and set a DisruptionTarget condition instead."""
    status, target = pod.get("status", {}), condition(pod, "DisruptionTarget")
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or target.get("message") or "")
    if not reason and target.get("reason") == "TerminationByKubelet":
        reason = "NodeShutdown" if "shutdown" in message else "Evicted"
    elif not reason and target.get("reason") == "PreemptionByScheduler":
        reason = "Preempted"
    if not reason and not message:
        _, fields = state_of(container_of(pod))
        reason, message = str(fields.get("reason", "")), str(fields.get("message", ""))
    return f"{reason}: {message}".strip(": ")
