"""Checks permissions: asks for every request that a deployment makes in advance (SelfSubjectAccessReview).

Source: Kubernetes API, authorization.k8s.io/v1 and authentication.k8s.io/v1.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.client import ClusterError
from leviathan.cluster.kinds import KINDS, Kind, kind_of
from leviathan.manifests.files import Object
from leviathan.preflight.check_result import CheckResult, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.site.choices import ApiKey
from leviathan.site.schema import Site
from leviathan.threads import together

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
#: Number of concurrent requests.
AT_ONCE = 4


@dataclass(frozen=True)
class Right:
    """The permission for `verb` on a resource in a namespace (empty: the whole cluster).

    `group`: API group, empty for core; `resource` may have a /subresource; `phase`: the phase that needs it; `needed`:
    whether that phase fails without it.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    phase: str
    needed: bool = True

    @property
    def kind(self) -> str:
        """The resource in kubectl's syntax."""
        name, _, sub = self.resource.partition("/")
        return f"{name}{f'.{self.group}' if self.group else ''}{f'/{sub}' if sub else ''}"

    def question(self) -> Object:
        """The SelfSubjectAccessReview."""
        name, _, sub = self.resource.partition("/")
        attributes = {"verb": self.verb, "group": self.group, "resource": name}
        attributes |= {"subresource": sub} if sub else {}
        attributes |= {"namespace": self.namespace} if self.namespace else {}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }


def permission(facts: Facts) -> Iterator[CheckResult]:
    """Checks that everything that the phases do is allowed."""
    cluster = facts.cluster
    rights = wanted(facts.site, facts.objects(), namespace_is_there=_namespace_is_there(facts))

    def allowed(right: Right) -> bool:
        answer = cluster.create(REVIEWS, right.question())
        return bool(answer.get("status", {}).get("allowed"))

    answers = together(allowed, rights, at_once=AT_ONCE)
    denied = [right for right, answer in zip(rights, answers, strict=True) if not answer]
    if not denied:
        yield ok(f"all {len(rights)} kinds of request are allowed")
        return
    user = _who(facts)
    for group in grouped(denied):
        yield _finding(group, user)


def wanted(site: Site, objects: Iterable[Object], *, namespace_is_there: bool) -> list[Right]:
    """The permissions that a deployment of `objects` needs, each once."""
    space, download = site.cluster.namespace, site.model.pod_namespace or site.cluster.namespace
    found: list[Right] = []
    for each in objects:
        kind = kind_of(each)
        group, where = _group(kind), space if kind.namespaced else ""
        verbs = ["get", "patch", "create"]
        if kind.name == "Namespace" and namespace_is_there:
            verbs.remove("create")
        found += [Right(verb, group, kind.plural, where, "apply") for verb in verbs]
    for kind in KINDS:  # objects to prune may be of any kind, such as after a change of workload.variant
        if kind.name != "Namespace":
            group, where = _group(kind), space if kind.namespaced else ""
            found.append(Right("list", group, kind.plural, where, "apply", needed=kind.namespaced))
            found.append(Right("delete", group, kind.plural, where, "pruning and delete", needed=False))
    found += [Right(verb, "apps", "deployments", space, "rollout") for verb in ("list", "watch")]
    found += [Right(verb, "", "pods", space, "rollout") for verb in ("get", "list", "watch")]
    found.append(Right("get", "", "pods/log", space, "rollout"))
    for group, resource in (("apps", "replicasets"), ("", "events"), ("", "services")):
        found += [Right(verb, group, resource, space, "rollout", needed=False) for verb in ("list", "watch")]
    found += [Right(verb, "", "nodes", "", "rollout", needed=False) for verb in ("list", "watch")]
    found.append(Right("get", "", "pods/proxy", space, "rollout", needed=False))
    found.append(Right("create", "", "pods", space, "apply", needed=False))
    found.append(Right("list", "apps", "replicasets", space, "rollback", needed=False))
    if site.image.make_pull_secret or site.access.api_key is ApiKey.SECRET:
        found += [Right(verb, "", "secrets", space, "apply") for verb in ("get", "create")]
        found.append(Right("delete", "", "secrets", space, "delete", needed=False))
    if site.downloads:
        found += [Right(verb, "batch", "jobs", space, "model") for verb in ("get", "create", "delete")]
    if site.model.pod:
        found += [Right("get", "", "pods", download, "model"), Right("get", "", "pods/log", download, "model")]
    if site.model.manifest:
        found.append(Right("get", "", "pods/exec", download, "model"))
        found.append(Right("create", "", "pods/exec", download, "model"))
    once: dict[tuple[str, str, str, str], Right] = {}
    for right in sorted(found, key=lambda each: not each.needed):  # optional for one phase, needed by another: needed
        once.setdefault((right.verb, right.group, right.resource, right.namespace), right)
    return list(once.values())


def _group(kind: Kind) -> str:
    """The API group of a kind, empty for the core."""
    return kind.prefix.split("/")[2] if kind.prefix.startswith("/apis/") else ""


def grouped(rights: Sequence[Right]) -> list[list[Right]]:
    """The permissions grouped by resource, namespace and need. Each group is one finding and one role."""
    groups: dict[tuple[str, str, bool], list[Right]] = {}
    for right in rights:
        groups.setdefault((right.kind, right.namespace, right.needed), []).append(right)
    return list(groups.values())


def _finding(group: Sequence[Right], user: str) -> CheckResult:
    first = group[0]
    verbs = ",".join(sorted({right.verb for right in group}))
    phases = ", ".join(dict.fromkeys(right.phase for right in group))
    where = f"in {first.namespace}" if first.namespace else "in the cluster"
    role = f"leviathan-{first.resource.replace('/', '-')}{'' if first.needed else '-more'}"
    kind, space = ("role", f" -n {first.namespace}") if first.namespace else ("clusterrole", "")
    fix = (
        f"as an administrator: kubectl create {kind} {role}{space} --verb={verbs} --resource={first.kind} && kubectl "
        f"create {kind}binding {role}{space} --{kind}={role} --user={user}"
    )
    text = f"{user} may not {verbs.replace(',', ', ')} {first.kind} {where} (needed by {phases})"
    return problem(text, fix) if first.needed else warning(text, fix)


def _namespace_is_there(facts: Facts) -> bool:
    """Whether the namespace exists. If it may not be read, assume that it has to be created."""
    try:
        return facts.get(f"/api/v1/namespaces/{facts.site.cluster.namespace}") is not None
    except ClusterError:
        return False


def _who(facts: Facts) -> str:
    """Our user name in the cluster; USER if the cluster does not tell it (Kubernetes before 1.28)."""
    question: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = facts.cluster.create(WHO, question)
    except ClusterError:
        return "USER"
    return str(answer.get("status", {}).get("userInfo", {}).get("username", "USER"))
