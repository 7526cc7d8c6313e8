"""Checks the namespace and its Pod Security, the NodePort, and the names of our objects."""

from collections.abc import Iterator, Mapping
from typing import Any

from leviathan.cluster.api_errors import RECREATE
from leviathan.cluster.client import ClusterError
from leviathan.cluster.kinds import is_ours, path_of, title
from leviathan.cluster.rival import rival
from leviathan.manifests.files import Object
from leviathan.manifests.policy import ENFORCE, MANAGED
from leviathan.preflight.check_result import CheckResult, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.preflight.node_resources import amount
from leviathan.site.choices import ApiKey, Kept, ServiceType, Variant

#: The API server's default range of NodePorts (--service-node-port-range).
NODE_PORTS = range(30000, 32768)


def namespace(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the namespace exists or will be created, and that its Pod Security admits the pod."""
    name = facts.site.cluster.namespace
    privileged = facts.site.workload.variant is Variant.PRIVILEGED
    found = facts.get(f"/api/v1/namespaces/{name}")
    if found is None and not facts.site.cluster.make_namespace:
        yield problem(f"the namespace {name} does not exist", f"kubectl create namespace {name}")
        return
    if found is None:
        yield ok(f"apply will create {name}{f' with the label {ENFORCE}=privileged' if privileged else ''}")
        return
    if found.get("status", {}).get("phase") == "Terminating":
        yield problem(f"{name} is being deleted", f"kubectl wait --for=delete namespace/{name} --timeout=10m")
        return
    level = (found["metadata"].get("labels") or {}).get(ENFORCE, "")
    if not privileged:
        yield ok(f"{name} exists, and the unprivileged pod meets every Pod Security level ({level or 'unset'})")
    elif level == "privileged":
        yield ok(f"{name} exists, and allows privileged pods")
    elif not level:
        text = f"{name} exists without a Pod Security level; apply sets {ENFORCE}=privileged"
        if is_ours(found):
            yield ok(text)
        else:
            yield warning(
                f"{text} for all pods in it, and delete does not remove that label",
                f"use a separate namespace: --set cluster.namespace={facts.site.workload.deployment}; or an "
                "unprivileged pod: --set workload.variant=unprivileged",
            )
    else:
        yield warning(
            f"{name} enforces Pod Security {level}, which refuses the privileged pod; apply changes it to privileged, "
            f"unless another field manager owns the label ({_managers(found)})",
            f"kubectl label namespace {name} {ENFORCE}=privileged --overwrite, or --set workload.variant=unprivileged",
        )


def node_port(facts: Facts) -> Iterator[CheckResult]:
    """Checks that no other Service uses the NodePort."""
    if facts.site.service.type is not ServiceType.NODE_PORT or not facts.site.engine.node_port:
        yield ok(f"no NodePort is set: the Service has the type {facts.site.service.type.value}")
        return
    site, services = facts.site, facts.list("/api/v1/services")
    wanted, mine = site.engine.node_port, (site.cluster.namespace, site.workload.service)
    users = {port: _place(each) for each in services for port in node_ports(each)}
    if wanted not in users:
        yield ok(f"{wanted} is free")
    elif users[wanted] == mine:
        yield ok(f"{wanted} is used by our own Service")
    else:
        free = next(port for port in NODE_PORTS if port not in users and port > NODE_PORTS[0])
        yield problem(
            f"{wanted} is used by the Service {'/'.join(users[wanted])}",
            f"leviathan preflight --set engine.node_port={free}, or kubectl -n {users[wanted][0]} delete service "
            f"{users[wanted][1]}",
        )


def node_ports(service: Object) -> list[int]:
    """All node ports that a Service uses."""
    spec = service["spec"]
    found = [port["nodePort"] for port in spec.get("ports") or [] if port.get("nodePort")]
    return found + ([spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else [])


def names(facts: Facts) -> Iterator[CheckResult]:
    """Checks that no foreign objects have the names of ours, and that no Deployment exists with another selector."""
    yield from _rivals(facts)
    yield from _kept(facts)
    clean, new = [], []
    for each in facts.objects():
        if each["kind"] == "Namespace":
            continue
        try:
            live = facts.get(path_of(each))
        except ClusterError as error:
            yield warning(f"unknown whether {title(each)} exists: {error.what}", error.remedy)
            continue
        found = None if live is None else _in_the_way(each, live, facts)
        if live is None:
            new.append(title(each))
        elif found is None:
            clean.append(title(each))
        else:
            yield found
    if new:
        yield ok(f"apply will create: {', '.join(new)}")
    if clean:
        yield ok(f"ours already: {', '.join(clean)}")


def _kept(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the claim for conversations exists, is writable, and is large enough."""
    site, engine = facts.site, facts.site.engine
    if engine.kept is not Kept.CLAIM:
        return
    name, space = engine.kept_claim, site.cluster.namespace
    other = (
        f"leviathan preflight --set engine.kept_claim=NAME (kubectl -n {space} get pvc lists them), or --set "
        "engine.kept=memory"
    )
    live = facts.get(f"/api/v1/namespaces/{space}/persistentvolumeclaims/{name}")
    if live is None:
        yield problem(f"engine.kept_claim: the PersistentVolumeClaim {name} does not exist in {space}", other)
        return
    phase, spec = live.get("status", {}).get("phase", "Pending"), live["spec"]
    if phase == "Lost":
        yield problem(f"engine.kept_claim: {name} has lost its volume", f"kubectl -n {space} describe pvc {name}")
    if set(spec.get("accessModes") or []) == {"ReadOnlyMany"}:
        yield problem(f"engine.kept_claim: {name} is read-only, but must be writable", other)
    size = amount(spec["resources"]["requests"]["storage"])
    if size < amount(f"{engine.kept_gb:g}G"):
        yield problem(
            f"engine.kept_gb = {engine.kept_gb:g} is more than the {float(size) / 1e9:g} GB of {name}",
            f"leviathan preflight --set engine.kept_gb={max(1, int(float(size) / 1e9)):d}",
        )
    if site.access.api_key is ApiKey.OFF:
        yield warning(
            f"all clients share the conversations stored in {name}, because no API key is required",
            "leviathan preflight --set access.api_key=secret",
        )


def _rivals(facts: Facts) -> Iterator[CheckResult]:
    """Checks for Deployments of other releases whose pods our Service would select."""
    site = facts.site
    if not site.release:
        return
    for each in facts.list(f"/apis/apps/v1/namespaces/{site.cluster.namespace}/deployments"):
        name, labels = each["metadata"]["name"], each["spec"]["template"]["metadata"].get("labels") or {}
        if name != site.workload.deployment and labels.get("app") == site.workload.app:
            yield problem(
                f"pods of Deployment/{name} also have app={site.workload.app}, so the Service would send to both",
                f"leviathan preflight --set workload.app={site.workload.deployment}",
            )


def _in_the_way(wanted: Object, live: Object, facts: Facts) -> CheckResult | None:
    """Why `live` cannot become `wanted`; None if it can."""
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
            f"{title(wanted)} exists, but is not ours (created with {_managers(live)})",
            f"{kubectl} delete {plural} {name}, or adopt it: {kubectl} label {plural} {name} "
            f"{'='.join(MANAGED)}, and leviathan apply --force-conflicts",
        )
    what, remedy = rival(wanted, live, facts.get)
    if what:
        return problem(what, remedy)
    fixed = [
        f"{name} cannot be changed from {now} to {then}" for name, now, then in _fixed(wanted, live) if now != then
    ]
    return problem(f"{title(wanted)}: {', '.join(fixed)}", RECREATE) if fixed else None


def _fixed(wanted: Object, live: Object) -> Iterator[tuple[str, str, str]]:
    """The immutable fields of a volume or its claim: the site's key, the current value, the wanted value.

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
    """The field managers of an object, except those of its status."""
    entries = each["metadata"].get("managedFields") or []
    found = dict.fromkeys(str(entry["manager"]) for entry in entries if not entry.get("subresource"))
    return ", ".join(found) or "an unknown tool"


def _place(service: Object) -> tuple[str, str]:
    return service["metadata"]["namespace"], service["metadata"]["name"]
