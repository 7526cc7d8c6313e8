"""Checks, before the Deployment is applied, whether the API server would admit its pod.

The API server accepts any Deployment. If Pod Security, a quota, a missing RuntimeClass or a webhook refuses the pod,
only the controller notices, and writes an event on the ReplicaSet. A dry-run creation of the pod reports it at once.
"""

import re
from copy import deepcopy

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.managed_fields import MISSING, extras, value_at
from leviathan.manifests.files import Object

#: Refusals that are not about the pod: no permission to create pods, or a service account that does not exist yet.
NOT_THE_POD = re.compile(r"cannot create resource|error looking up service account")
#: Admission reads a namespace's labels from a cache, which lags behind a write by milliseconds or more. So a refusal by
#: Pod Security is checked again after we wrote the namespace: number of retries, and seconds between them.
SETTLES, PAUSE_S = 25, 0.2


def check_pod(cluster: Cluster, deployment: Object, *, again: int = 0) -> bool:
    """Whether the server confirmed that it admits the pod; False if it could not be asked.

    Arguments: `again`, number of retries after a refusal by Pod Security.
    Errors: ClusterError if the server refuses the pod, or cannot be reached.
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
    """Fields of a Deployment's pod that remain only because another manager once set them, each as one line.

    Server-side apply keeps such fields, even if they change the meaning of ours (nodeName, command). To ignore the
    defaults of the server, this compares with a dry-run creation of the same Deployment under another name.
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
    return [
        f"{field} = {value!r} is not in the manifests, but {managers} set it, so it is kept" for field, value in found
    ]


def _sets_pod(entry: Object) -> bool:
    ours = entry["manager"] == "leviathan" and entry["operation"] == "Apply"
    fields = entry.get("fieldsV1", {}).get("f:spec", {}).get("f:template", MISSING)
    return not ours and not entry.get("subresource") and fields is not MISSING
