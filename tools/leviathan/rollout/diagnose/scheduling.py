"""Finds out why the scheduler finds no node, from each clause of its message.

Source: kube-scheduler's FitError, "0/N nodes are available: COUNT REASON, COUNT REASON. preemption: ...". The clauses
count nodes but do not name them. Clauses that cannot be about the site's node are ignored.
"""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from leviathan.cluster.objects import Object, condition
from leviathan.rollout.diagnose.cases import Case, explain, find
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot, title
from leviathan.site.quantity import parse_quantity

HELD = "to see which pods use it: {cluster} get pods -A --field-selector spec.nodeName={node}"
#: Prefix of taints that describe the node's state, and that Kubernetes removes when the state is over.
STATE_TAINT = "node.kubernetes.io/"

CASES = (
    Case(
        r"Insufficient nvidia\.com/gpu",
        "insufficient-gpu",
        Severity.FATAL,
        "not enough free GPUs: {gpus} needed, {has}",
        "{short}",
    ),
    Case(
        r"Insufficient (?P<resource>cpu|memory)",
        "insufficient-{resource}",
        Severity.FATAL,
        "not enough free {resource}: {wanted} needed, {has}",
        "{short}",
    ),
    Case(
        r"Insufficient (?P<resource>\S+)|Too many (?P<many>pods)",
        "insufficient-resource",
        Severity.FATAL,
        "the node does not have enough {resource}{many}",
        "{cluster} describe node {node}; " + HELD,
    ),
    Case(
        r"didn't match Pod's node (affinity|selector)",
        "node-selector",
        Severity.FATAL,
        "no node has the label that the pod selects: kubernetes.io/hostname={node}",
        "{cluster} get nodes -L kubernetes.io/hostname, then leviathan apply --set cluster.node=NAME",
    ),
    Case(
        r"untolerated taint",
        "taint",
        Severity.FATAL,
        "the node has a taint that the pod does not tolerate: {taints}",
        "{cluster} describe node {node}; {untaint}",
    ),
    Case(
        r"were unschedulable",
        "cordoned",
        Severity.FATAL,
        "the node is cordoned",
        "{cluster} uncordon {node}",
    ),
    Case(
        r"didn't have free ports",
        "host-port-taken",
        Severity.FATAL,
        "another pod on the node uses the host port",
        "{cluster} get pods -A --field-selector spec.nodeName={node} -o wide, then free it or change engine.port",
    ),
    Case(
        r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim \"[^\"]*\" not found"
        r"|didn't find available persistent volumes",
        "volume-unbound",
        Severity.FATAL,
        "the claim of the model's volume is not bound",
        "{kubectl} get pvc; {cluster} get pv; if the PersistentVolume is Released, it keeps its old claim: {cluster}"
        " delete pv {volume} (the data is kept), then leviathan apply",
    ),
    Case(
        r"PersistentVolume's node affinity|volume node affinity conflict",
        "volume-node",
        Severity.FATAL,
        "the model's volume is on another node than the pod",
        "{cluster} describe pv {volume}; its nodeAffinity and cluster.node must name the same node",
    ),
    Case(
        r"no nodes available|0/0 nodes",
        "no-nodes",
        Severity.FATAL,
        "the cluster has no node that accepts pods",
        "{cluster} get nodes",
    ),
    Case(r"", "unschedulable", Severity.FATAL, "the pod cannot be scheduled", "{kubectl} describe {where}"),
)


def schedule_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about the newest pod, while it has no node."""
    pod = snapshot.pod
    if pod is None or pod["spec"].get("nodeName"):
        return
    scheduled = condition(pod, "PodScheduled")
    text = str(scheduled.get("message", "")) if scheduled.get("status") == "False" else ""
    event = snapshot.last(pod, "FailedScheduling")
    if not text and event is not None:
        text = event.message
    if not text:
        return
    clauses = [clause for clause in _clauses(text) if _is_ours(clause, pod, snapshot)]
    for clause in clauses or [_reason(text)]:
        more = _words(clause, pod, snapshot, commands)
        found = explain(CASES, clause, title(pod), commands, **more)
        code = found.code.format_map({"resource": more["resource"]})
        yield Finding(code, found.severity, found.where, found.what, _reason(text), found.remedy)


def _reason(text: str) -> str:
    """The message without its part about preemption."""
    return re.sub(r"\.?\s*(no new claims to deallocate,?|preemption:).*", "", text, flags=re.DOTALL).strip()


def _clauses(text: str) -> list[str]:
    """The distinct reasons in the message."""
    body = _reason(text).split("available:", 1)[-1]
    return list(dict.fromkeys(re.sub(r"^\d+ ", "", part.strip()).rstrip(".") for part in body.split(", ")))


def _is_ours(clause: str, pod: Object, snapshot: Snapshot) -> bool:
    """Whether a clause may be about the site's node."""
    node = snapshot.node
    if node is None:
        return True
    code = find(CASES, clause)[0].code
    if code == "node-selector":
        wanted: Mapping[str, str] = pod["spec"].get("nodeSelector") or {}
        return not wanted.items() <= node["metadata"].get("labels", {}).items()
    if code == "taint":
        return bool(_taints(node, pod))
    if code == "cordoned":
        return bool(node["spec"].get("unschedulable"))
    return True


def _taints(node: Object, pod: Object) -> list[str]:
    """The node's taints that the pod does not tolerate, in the syntax of `kubectl taint`."""
    found = []
    for taint in node["spec"].get("taints") or []:
        if taint.get("effect") != "PreferNoSchedule" and not any(
            _tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations") or []
        ):
            value = f"={taint['value']}" if taint.get("value") else ""
            found.append(f"{taint['key']}{value}:{taint.get('effect', '')}")
    return found


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Source: Kubernetes API, Toleration v1."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def _words(clause: str, pod: Object, snapshot: Snapshot, commands: Commands) -> dict[str, str]:
    """The values that the cases' templates use for the resource or the taints."""
    match = re.search(r"Insufficient (\S+)", clause)
    resource = match[1] if match else ""
    taints = _taints(snapshot.node, pod) if snapshot.node else re.findall(r"\{([^}]*)\}", clause)
    state = [taint for taint in taints if taint.startswith(STATE_TAINT)]
    node = commands.site.where
    key = re.split("[=:]", taints[0])[0] if taints else "KEY"
    untaint = (
        "Kubernetes removes this taint when the node has recovered"
        if taints and len(state) == len(taints)
        else f"{commands.cluster} taint node {node} {key}-, or add a toleration to the manifests, then leviathan apply"
    )
    wanted = _wanted(pod, resource)
    words = {"resource": resource, "taints": ", ".join(taints) or "see below", "untaint": untaint, "wanted": wanted}
    return {"has": "", "short": "", **words, **(_shortage(resource, wanted, snapshot, commands) if resource else {})}


def _wanted(pod: Object, resource: str) -> str:
    """The amount of the resource that the pod's containers request, as in the manifest."""
    found = [each.get("resources", {}).get("requests", {}).get(resource) for each in pod["spec"].get("containers", [])]
    return " + ".join(str(each) for each in found if each is not None) or "some"


def _shortage(resource: str, wanted: str, snapshot: Snapshot, commands: Commands) -> dict[str, str]:
    """How much of the resource the node has, and the matching remedy."""
    site, node = commands.site, commands.site.where
    held = HELD.format(cluster=commands.cluster, node=node)
    if snapshot.node is None:
        return {"has": "and the node is unknown", "short": f"{commands.cluster} describe node {node}; {held}"}
    text = snapshot.node.get("status", {}).get("allocatable", {}).get(resource, "0")
    has = f"{node} has {text}" + (" in total" if text != "0" else "")
    try:
        enough = sum(map(parse_quantity, wanted.split(" + ")), Fraction()) <= parse_quantity(text)
    except ValueError:
        enough = True
    if enough:
        return {"has": f"{has}, and other pods use them", "short": held}
    if resource != site.resources.gpu_resource:
        limit = f"resources.{resource}_request" if resource in ("cpu", "memory") else "[resources]"
        return {"has": has, "short": f"leviathan apply --set {limit}=LESS (at most {text}), or a larger node"}
    if text == "0":
        short = (
            f"check the NVIDIA device plugin and driver on {node}: {commands.cluster} get pods -A -o wide | grep -i"
            f" nvidia; talosctl -n {site.cluster.address} dmesg | grep -i nvidia"
        )
        return {"has": has, "short": short}
    return {"has": has, "short": f"check the GPUs, or set resources.gpus = {text} and a matching engine.gpu_split"}
