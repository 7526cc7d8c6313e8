"""The kinds of objects in the manifests, their API paths, and which objects are ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from leviathan.errors import RenderError
from leviathan.manifests.files import Object
from leviathan.manifests.fit import INSTANCE
from leviathan.manifests.policy import MANAGED

#: Selects the objects that `leviathan` applied.
SELECTOR = f"{MANAGED[0]}={MANAGED[1]}"


@dataclass(frozen=True)
class Kind:
    """A kind: `prefix` of its group and version (/api/v1), `plural` in paths, whether it is namespaced."""

    name: str
    prefix: str
    plural: str
    namespaced: bool = True

    def collection(self, namespace: str) -> str:
        """The API path of the kind's objects, in `namespace` if the kind is namespaced."""
        space = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{self.prefix}{space}/{self.plural}"


#: In the order of applying. Deleting uses the reverse order.
KINDS = (
    Kind("Namespace", "/api/v1", "namespaces", namespaced=False),
    Kind("PersistentVolume", "/api/v1", "persistentvolumes", namespaced=False),
    Kind("PersistentVolumeClaim", "/api/v1", "persistentvolumeclaims"),
    Kind("Deployment", "/apis/apps/v1", "deployments"),
    Kind("Service", "/api/v1", "services"),
)


#: Further kinds that a site may have, in the order of applying. Some are defined by other projects' CRDs.
MORE_KINDS = (
    Kind("ServiceAccount", "/api/v1", "serviceaccounts"),
    Kind("Secret", "/api/v1", "secrets"),
    Kind("ConfigMap", "/api/v1", "configmaps"),
    Kind("Role", "/apis/rbac.authorization.k8s.io/v1", "roles"),
    Kind("RoleBinding", "/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    Kind("NetworkPolicy", "/apis/networking.k8s.io/v1", "networkpolicies"),
    Kind("Ingress", "/apis/networking.k8s.io/v1", "ingresses"),
    Kind("HTTPRoute", "/apis/gateway.networking.k8s.io/v1", "httproutes"),
    Kind("PodMonitor", "/apis/monitoring.coreos.com/v1", "podmonitors"),
    Kind("ServiceMonitor", "/apis/monitoring.coreos.com/v1", "servicemonitors"),
    Kind("PrometheusRule", "/apis/monitoring.coreos.com/v1", "prometheusrules"),
    Kind("Certificate", "/apis/cert-manager.io/v1", "certificates"),
    Kind("PodDisruptionBudget", "/apis/policy/v1", "poddisruptionbudgets"),
    Kind("Job", "/apis/batch/v1", "jobs"),
    Kind("CronJob", "/apis/batch/v1", "cronjobs"),
)
#: The Deployment's annotation that lists the further kinds in use, so that pruning finds them later.
MORE = "leviathan/more-kinds"


def more_kinds(deployments: Sequence[Object]) -> list[Kind]:
    """The further kinds named in annotations of Deployments, in the order of deleting."""
    named = {
        name
        for each in deployments
        for name in (each["metadata"].get("annotations") or {}).get(MORE, "").split(",")
        if each["kind"] == "Deployment"
    }
    return [kind for kind in reversed(MORE_KINDS) if kind.name in named]


def kind_of(each: Object) -> Kind:
    """The kind of an object. Errors: RenderError if we do not apply this kind."""
    for kind in (*KINDS, *MORE_KINDS):
        version = kind.prefix.removeprefix("/apis/").removeprefix("/api/")
        if (kind.name, version) == (each["kind"], each.get("apiVersion", version)):
            return kind
    known = ", ".join(sorted(kind.name for kind in (*KINDS, *MORE_KINDS)))
    raise RenderError(
        f"leviathan cannot apply objects of kind {each['kind']} ({each.get('apiVersion')})",
        why=f"supported kinds: {known}",
        remedy="apply the object with kubectl",
    )


def path_of(each: Object) -> str:
    """The API path of an object."""
    meta = each["metadata"]
    return f"{kind_of(each).collection(meta.get('namespace', ''))}/{meta['name']}"


def title(each: Object) -> str:
    """An object in messages: Kind/name."""
    return f"{each['kind']}/{each['metadata']['name']}"


def is_ours(each: Object, release: str | None = None) -> bool:
    """Whether an object carries our label and, if `release` is given, belongs to that release."""
    labels = each["metadata"].get("labels") or {}
    return bool(labels.get(MANAGED[0]) == MANAGED[1]) and release in (None, labels.get(INSTANCE, ""))


def in_order(objects: Sequence[Object]) -> list[Object]:
    """The objects in the order of applying: the namespace first, and each object after those that it needs."""
    names = [kind.name for kind in (*KINDS[:3], *MORE_KINDS[:6], *KINDS[3:], *MORE_KINDS[6:])]
    return sorted(objects, key=lambda each: names.index(kind_of(each).name))
