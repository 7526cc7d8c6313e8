"""Asks the API server whether it would let the Deployment's pod in, before the Deployment is applied.

A Deployment is taken whatever its pods ask for; that Pod Security, a quota, a missing RuntimeClass or a webhook refuses
them is found out only by the controller, in an event of a ReplicaSet. A dry-run creation of the pod says it at once.
"""

import re
from copy import deepcopy

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.managed_fields import MISSING, extras, value_at
from leviathan.manifests.files import Object

#: Refusals that say nothing of the pod: no right to create one by hand, and a service account that is about to be made.
NOT_THE_POD = re.compile(r"cannot create resource|error looking up service account")
#: Admission reads a namespace's labels from a cache, which follows a write by milliseconds, on a busy machine by more:
#: how often a refusal of Pod Security is asked again after we wrote the namespace, and seconds between two tries.
SETTLES, PAUSE_S = 25, 0.2


def check_pod(cluster: Cluster, deployment: Object, *, again: int = 0) -> bool:
    """Whether the server was able to say that it lets the pod in; False when it could not be asked.

    Arguments: `again`, how often a refusal of Pod Security is not believed yet, and asked again.
    Errors: ClusterError when it refuses the pod, and when it is not reached.
    """
    for _ in range(again):
        try:
            return _ask(cluster, deployment)
        except ClusterError as error:
            if "violates PodSecurity" not in error.why:
                raise
        cluster.transport.sleep(PAUSE_S)
    return _ask(cluster, deployment)


def _ask(cluster: Cluster, deployment: Object) -> bool:
    template = deepcopy(deployment["spec"]["template"])
    namespace = deployment["metadata"]["namespace"]
    template["metadata"]["generateName"] = "leviathan-check-"
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    try:
        cluster.create(f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All")
    except ClusterError as error:
        if not error.status:
            raise
        if error.status not in (400, 403, 422) or NOT_THE_POD.search(error.why):
            return False
        raise ClusterError(
            f"the cluster would refuse the pod of Deployment/{deployment['metadata']['name']}: {error.what}",
            where=error.where,
            why=error.why,
            remedy=error.remedy,
            status=error.status,
            reason=error.reason,
            causes=error.causes,
        ) from None
    return True


def leftovers(cluster: Cluster, wanted: Object, result: Object) -> list[str]:
    """Fields of a Deployment's pod that are there only because another manager once set them: each as one line.

    Server-side apply leaves such fields alone, also when they turn the meaning of ours (nodeName, command). What the
    server itself fills in is told apart by a dry-run creation of the same Deployment under another name.
    """
    others = [entry for entry in result["metadata"].get("managedFields", []) if _sets_pod(entry)]
    if not others:
        return []
    meta = {key: value for key, value in wanted["metadata"].items() if key != "name"}
    plain = {**wanted, "metadata": {**meta, "generateName": "leviathan-check-"}}
    namespace = wanted["metadata"]["namespace"]
    made = cluster.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", plain, dryRun="All")
    pod = ".spec.template"
    managers = ", ".join(dict.fromkeys(entry["manager"] for entry in others))
    found = extras(value_at(result, pod), value_at(made, pod), pod)
    return [f"{field} = {value!r} is not in the manifests and stays; set by {managers}" for field, value in found]


def _sets_pod(entry: Object) -> bool:
    ours = entry["manager"] == "leviathan" and entry["operation"] == "Apply"
    fields = entry.get("fieldsV1", {}).get("f:spec", {}).get("f:template", MISSING)
    return not ours and not entry.get("subresource") and fields is not MISSING
