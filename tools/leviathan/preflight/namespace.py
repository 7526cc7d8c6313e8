"""Where the objects go: the namespace and its Pod Security, the NodePort, the names."""

from collections.abc import Iterator, Mapping
from typing import Any

from leviathan.cluster.api_errors import MADE_ANEW
from leviathan.cluster.client import ClusterError
from leviathan.cluster.kinds import is_ours, path_of, title
from leviathan.cluster.rival import rival
from leviathan.manifests.files import Object
from leviathan.manifests.policy import ENFORCE, MANAGED
from leviathan.preflight.check_result import CheckResult, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.preflight.node_resources import amount
from leviathan.site.choices import ApiKey, Kept, ServiceType, Variant

#: NodePorts, as the API server hands them out unless told otherwise (--service-node-port-range).
NODE_PORTS = range(30000, 32768)


def namespace(facts: Facts) -> Iterator[CheckResult]:
    """The namespace is there or will be made, and its Pod Security lets the pod in."""
    name = facts.site.cluster.namespace
    privileged = facts.site.workload.variant is Variant.PRIVILEGED
    found = facts.get(f"/api/v1/namespaces/{name}")
    if found is None and not facts.site.cluster.make_namespace:
        yield problem(f"there is no namespace {name}", f"kubectl create namespace {name}")
        return
    if found is None:
        yield ok(f"{name} will be created{f', labelled {ENFORCE}=privileged' if privileged else ''}")
        return
    if found.get("status", {}).get("phase") == "Terminating":
        yield problem(f"{name} is being deleted", f"kubectl wait --for=delete namespace/{name} --timeout=10m")
        return
    level = (found["metadata"].get("labels") or {}).get(ENFORCE, "")
    if not privileged:
        yield ok(f"{name} is there, and the unprivileged pod meets every Pod Security level ({level or 'unset'})")
    elif level == "privileged":
        yield ok(f"{name} is there, and lets privileged pods in")
    elif not level:
        text = f"{name} is there without a Pod Security level; apply sets {ENFORCE}=privileged"
        if is_ours(found):
            yield ok(text)
        else:
            yield warning(
                f"{text}, for every pod in it, and delete leaves it there",
                f"a namespace of its own: --set cluster.namespace={facts.site.workload.deployment}; or, without a "
                "privileged pod, --set workload.variant=unprivileged",
            )
    else:
        yield warning(
            f"{name} enforces Pod Security {level}, which refuses the privileged pod; apply changes it to privileged, "
            f"unless another manager holds on to the label ({_managers(found)})",
            f"kubectl label namespace {name} {ENFORCE}=privileged --overwrite, or --set workload.variant=unprivileged",
        )


def node_port(facts: Facts) -> Iterator[CheckResult]:
    """No other Service has the NodePort."""
    if facts.site.service.type is not ServiceType.NODE_PORT or not facts.site.engine.node_port:
        yield ok(f"none is asked for: the Service is a {facts.site.service.type.value}")
        return
    site, services = facts.site, facts.list("/api/v1/services")
    wanted, mine = site.engine.node_port, (site.cluster.namespace, site.workload.service)
    users = {port: _place(each) for each in services for port in node_ports(each)}
    if wanted not in users:
        yield ok(f"{wanted} is free")
    elif users[wanted] == mine:
        yield ok(f"{wanted} is our own Service's")
    else:
        free = next(port for port in NODE_PORTS if port not in users and port > NODE_PORTS[0])
        yield problem(
            f"{wanted} is taken by the Service {'/'.join(users[wanted])}",
            f"leviathan preflight --set engine.node_port={free}, or kubectl -n {users[wanted][0]} delete service "
            f"{users[wanted][1]}",
        )


def node_ports(service: Object) -> list[int]:
    """All ports of the nodes that a Service takes."""
    spec = service["spec"]
    found = [port["nodePort"] for port in spec.get("ports") or [] if port.get("nodePort")]
    return found + ([spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else [])


def names(facts: Facts) -> Iterator[CheckResult]:
    """Nobody else has an object of the names that ours have, and no Deployment stands there with another selector."""
    yield from _rivals(facts)
    yield from _kept(facts)
    clean, new = [], []
    for each in facts.objects():
        if each["kind"] == "Namespace":
            continue
        try:
            live = facts.get(path_of(each))
        except ClusterError as error:
            yield warning(f"not known whether {title(each)} is there: {error.what}", error.remedy)
            continue
        found = None if live is None else _in_the_way(each, live, facts)
        if live is None:
            new.append(title(each))
        elif found is None:
            clean.append(title(each))
        else:
            yield found
    if new:
        yield ok(f"not there yet: {', '.join(new)}")
    if clean:
        yield ok(f"ours: {', '.join(clean)}")


def _kept(facts: Facts) -> Iterator[CheckResult]:
    """The claim for conversations is there, can be written, and is as large as the site says."""
    site, engine = facts.site, facts.site.engine
    if engine.kept is not Kept.CLAIM:
        return
    name, space = engine.kept_claim, site.cluster.namespace
    other = (
        f"leviathan preflight --set engine.kept_claim=NAME (kubectl -n {space} get pvc), or --set engine.kept=memory"
    )
    live = facts.get(f"/api/v1/namespaces/{space}/persistentvolumeclaims/{name}")
    if live is None:
        yield problem(f"engine.kept_claim: there is no PersistentVolumeClaim {name} in {space}", other)
        return
    phase, spec = live.get("status", {}).get("phase", "Pending"), live["spec"]
    if phase == "Lost":
        yield problem(f"engine.kept_claim: {name} has lost its volume", f"kubectl -n {space} describe pvc {name}")
    if set(spec.get("accessModes") or []) == {"ReadOnlyMany"}:
        yield problem(f"engine.kept_claim: {name} can only be read, conversations are written", other)
    size = amount(spec["resources"]["requests"]["storage"])
    if size < amount(f"{engine.kept_gb:g}G"):
        yield problem(
            f"engine.kept_gb = {engine.kept_gb:g} is more than the {float(size) / 1e9:g} GB of {name}",
            f"leviathan preflight --set engine.kept_gb={max(1, int(float(size) / 1e9)):d}",
        )
    if site.access.api_key is ApiKey.OFF:
        yield warning(
            f"conversations of everybody are kept in {name}, and without keys all clients share them",
            "leviathan preflight --set access.api_key=secret",
        )


def _rivals(facts: Facts) -> Iterator[CheckResult]:
    """Deployments of other releases whose pods our Service would select, or that have our claim's volume."""
    site = facts.site
    if not site.release:
        return
    for each in facts.list(f"/apis/apps/v1/namespaces/{site.cluster.namespace}/deployments"):
        name, labels = each["metadata"]["name"], each["spec"]["template"]["metadata"].get("labels") or {}
        if name != site.workload.deployment and labels.get("app") == site.workload.app:
            yield problem(
                f"Deployment/{name} has pods with app={site.workload.app} too: the Service would send to both",
                f"leviathan preflight --set workload.app={site.workload.deployment}",
            )


def _in_the_way(wanted: Object, live: Object, facts: Facts) -> CheckResult | None:
    """Why `live` cannot become `wanted`; None when it can."""
    plural = wanted["kind"].lower()
    space = wanted["metadata"].get("namespace")
    kubectl, name = f"kubectl{f' -n {space}' if space else ''}", wanted["metadata"]["name"]
    if live["metadata"].get("deletionTimestamp"):
        return problem(
            f"{title(wanted)} is being deleted", f"{kubectl} wait --for=delete {plural}/{name} --timeout=10m"
        )
    if wanted["kind"] == "Deployment" and _selector(wanted) != _selector(live):
        return problem(
            f"{title(wanted)} selects its pods by {_selector(live)}, which cannot be changed to {_selector(wanted)}",
            f"{kubectl} delete deployment {name}, or choose another name: --set workload.deployment=NAME",
        )
    if not is_ours(live):
        return problem(
            f"{title(wanted)} is there and is not ours (made with {_managers(live)})",
            f"{kubectl} delete {plural} {name}, or make it ours: {kubectl} label {plural} {name} "
            f"{'='.join(MANAGED)}, and leviathan apply --force-conflicts",
        )
    what, remedy = rival(wanted, live, facts.get)
    if what:
        return problem(what, remedy)
    fixed = [f"{name} is {now}, which cannot become {then}" for name, now, then in _fixed(wanted, live) if now != then]
    return problem(f"{title(wanted)}: {', '.join(fixed)}", MADE_ANEW) if fixed else None


def _fixed(wanted: Object, live: Object) -> Iterator[tuple[str, str, str]]:
    """What no one may change in a volume or its claim: the site's key, as it is, as it would be.

    Source: Kubernetes, ValidatePersistentVolumeUpdate, and the admission plugin PersistentVolumeClaimResize.
    """
    new, old = wanted["spec"], live["spec"]
    if wanted["kind"] == "PersistentVolume":
        for key, field in (("storage.partition", "path"), ("storage.filesystem", "fsType")):
            before, after = (str((spec.get("local") or {}).get(field, "unset")) for spec in (old, new))
            yield key, before, after
        yield "cluster.node", _nodes(old), _nodes(new)
    if wanted["kind"] == "PersistentVolumeClaim":
        sizes = [amount(spec["resources"]["requests"]["storage"]) for spec in (old, new)]
        before, after = (f"{float(size) / 1e9:g}" for size in sizes)
        yield "storage.size_gb", before, after


def _nodes(volume: Mapping[str, Any]) -> str:
    """The nodes that a volume is on, by its affinity."""
    terms = ((volume.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    found = [each for term in terms for entry in term.get("matchExpressions") or [] for each in entry.get("values", [])]
    return ",".join(found) or "any"


def _selector(deployment: Object) -> str:
    labels = deployment["spec"]["selector"].get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _managers(each: Object) -> str:
    """Who has set fields of an object, the status left out."""
    entries = each["metadata"].get("managedFields") or []
    found = dict.fromkeys(str(entry["manager"]) for entry in entries if not entry.get("subresource"))
    return ", ".join(found) or "an unknown tool"


def _place(service: Object) -> tuple[str, str]:
    return service["metadata"]["namespace"], service["metadata"]["name"]
