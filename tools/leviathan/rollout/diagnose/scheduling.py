"""Why the scheduler finds no node, clause by clause of its message.

Source: kube-scheduler's FitError, "0/N nodes are available: COUNT REASON, COUNT REASON. preemption: ...". The clauses
count nodes and do not name them: what other nodes lack is told apart by looking at the node that the site names.
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

HELD = "what holds it: {cluster} get pods -A --field-selector spec.nodeName={node}"
#: Taints that say how the node is, and that go with the cause.
STATE_TAINT = "node.kubernetes.io/"

CASES = (
    Case(
        r"Insufficient nvidia\.com/gpu",
        "insufficient-gpu",
        Severity.FATAL,
        "not enough free GPUs: {gpus} are wanted, {has}",
        "{short}",
    ),
    Case(
        r"Insufficient (?P<resource>cpu|memory)",
        "insufficient-{resource}",
        Severity.FATAL,
        "not enough free {resource}: {wanted} are wanted, {has}",
        "{short}",
    ),
    Case(
        r"Insufficient (?P<resource>\S+)|Too many (?P<many>pods)",
        "insufficient-resource",
        Severity.FATAL,
        "not enough room on the node for {resource}{many}",
        "{cluster} describe node {node}; " + HELD,
    ),
    Case(
        r"didn't match Pod's node (affinity|selector)",
        "node-selector",
        Severity.FATAL,
        "no node has the label that the pod wants: kubernetes.io/hostname={node}",
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
        "another pod on the node has the host port",
        "{cluster} get pods -A --field-selector spec.nodeName={node} -o wide, then free it or change engine.port",
    ),
    Case(
        r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim \"[^\"]*\" not found"
        r"|didn't find available persistent volumes",
        "volume-unbound",
        Severity.FATAL,
        "the claim of the model's volume is not bound",
        "{kubectl} get pvc; {cluster} get pv; a PersistentVolume that is Released keeps its old claim: {cluster} delete"
        " pv {volume} (the data stays), then leviathan apply",
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
        "the cluster has no node that pods can go to",
        "{cluster} get nodes",
    ),
    Case(r"", "unschedulable", Severity.FATAL, "the pod cannot be scheduled", "{kubectl} describe {where}"),
)


def schedule_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """The newest pod, while it has no node."""
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
    """The message without what it says about preemption."""
    return re.sub(r"\.?\s*(no new claims to deallocate,?|preemption:).*", "", text, flags=re.DOTALL).strip()


def _clauses(text: str) -> list[str]:
    """The reasons of the message, each once."""
    body = _reason(text).split("available:", 1)[-1]
    return list(dict.fromkeys(re.sub(r"^\d+ ", "", part.strip()).rstrip(".") for part in body.split(", ")))


def _is_ours(clause: str, pod: Object, snapshot: Snapshot) -> bool:
    """Whether a clause may be about the node that the pod is meant for."""
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
    """The taints of the node that keep the pod away, as `kubectl taint` writes them."""
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
    """What the cases say about the resource or the taints."""
    match = re.search(r"Insufficient (\S+)", clause)
    resource = match[1] if match else ""
    taints = _taints(snapshot.node, pod) if snapshot.node else re.findall(r"\{([^}]*)\}", clause)
    state = [taint for taint in taints if taint.startswith(STATE_TAINT)]
    node = commands.site.where
    key = re.split("[=:]", taints[0])[0] if taints else "KEY"
    untaint = (
        "this taint goes when the node is well again"
        if taints and len(state) == len(taints)
        else f"{commands.cluster} taint node {node} {key}-, or add a toleration in manifests/ and leviathan apply"
    )
    wanted = _wanted(pod, resource)
    words = {"resource": resource, "taints": ", ".join(taints) or "see below", "untaint": untaint, "wanted": wanted}
    return {"has": "", "short": "", **words, **(_shortage(resource, wanted, snapshot, commands) if resource else {})}


def _wanted(pod: Object, resource: str) -> str:
    """What the pod's containers request of the resource, as its manifest has it."""
    found = [each.get("resources", {}).get("requests", {}).get(resource) for each in pod["spec"].get("containers", [])]
    return " + ".join(str(each) for each in found if each is not None) or "some"


def _shortage(resource: str, wanted: str, snapshot: Snapshot, commands: Commands) -> dict[str, str]:
    """How much of the resource the node has, and the way out that fits."""
    site, node = commands.site, commands.site.where
    held = HELD.format(cluster=commands.cluster, node=node)
    if snapshot.node is None:
        return {"has": "and the node is not known", "short": f"{commands.cluster} describe node {node}; {held}"}
    text = snapshot.node.get("status", {}).get("allocatable", {}).get(resource, "0")
    has = f"{node} has {text}" + (" in all" if text != "0" else "")
    try:
        enough = sum(map(parse_quantity, wanted.split(" + ")), Fraction()) <= parse_quantity(text)
    except ValueError:
        enough = True
    if enough:
        return {"has": f"{has}, and others hold them", "short": held}
    if resource != site.resources.gpu_resource:
        limit = f"resources.{resource}_request" if resource in ("cpu", "memory") else "[resources]"
        return {"has": has, "short": f"leviathan apply --set {limit}=LESS (at most {text}), or a larger node"}
    if text == "0":
        short = (
            f"the NVIDIA device plugin does not offer any on {node}: {commands.cluster} get pods -A -o wide | grep -i"
            f" nvidia; talosctl -n {site.cluster.address} dmesg | grep -i nvidia"
        )
        return {"has": has, "short": short}
    return {"has": has, "short": f"look at the cards, or set resources.gpus = {text} and engine.gpu_split to match"}
