"""Turns refusals of the Kubernetes API and failed connections into one-line errors with a remedy.

Source: Kubernetes API conventions, "Response Status Kind".
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.errors import Cause, ClusterError
from leviathan.errors import unknown_host


@dataclass(frozen=True)
class ApiRequest:
    """A request, for error messages: method, API path, kubeconfig context and server.

    `proxy`: the proxy that it went through, and where that proxy is configured; empty for none.
    """

    method: str
    path: str
    context: str
    server: str
    proxy: str = ""

    @property
    def where(self) -> str:
        """Method, path, server and proxy."""
        way = f" through the proxy {self.proxy}" if self.proxy else ""
        return f"{self.method} {self.path} on {self.server}{way}"

    @property
    def kubectl(self) -> str:
        """The start of a kubectl command with the same context, for remedies."""
        return f"kubectl --context {self.context}" if self.context else "kubectl"

    @property
    def namespace(self) -> str:
        """The namespace of the path, or empty."""
        found = re.search(r"/namespaces/([^/?]+)", self.path)
        return found[1] if found else ""

    @property
    def resource(self) -> str:
        """The plural name of the resource in the path, for `kubectl auth can-i`."""
        steps = re.sub(r"^/(api/[^/]+|apis/[^/]+/[^/]+)/", "", self.path).strip("/").split("/")
        if steps[0] == "namespaces" and len(steps) > 2:
            steps = steps[2:]
        return steps[0]

    @property
    def object(self) -> str:
        """`deployments/name`, or `deployments` if the path names no object."""
        name = self.path.split(f"/{self.resource}/", 1)
        return f"{self.resource}/{name[1].split('/')[0]}" if len(name) == 2 else self.resource


#: A volume stays while its claim exists, and a claim while its pod exists: `kubectl delete` of one of them hangs.
VOLUMES = frozenset({"persistentvolumes", "persistentvolumeclaims"})
RECREATE = "leviathan delete, then leviathan apply (the volume's files are kept: its reclaim policy is Retain)"
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}


def refused(asked: ApiRequest, status: int, body: bytes | str | None, retry_after_s: float = 0.0) -> ClusterError:
    """The error for an HTTP status that is not a success; `body` is a Status object, or anything else."""
    answer = _status(body)
    reason = str(answer.get("reason") or "")
    why = str(answer.get("message") or _plain(body))
    details = answer.get("details")
    named = details.get("causes") if isinstance(details, dict) else None
    causes = tuple(
        Cause(str(each.get("reason", "")), str(each.get("message", "")), str(each.get("field", "")))
        for each in (named if isinstance(named, list) else [])
        if isinstance(each, dict)
    )
    if status == 410:
        reason = "Expired"
    what, remedy = _words(asked, status, reason, why, causes)
    return ClusterError(
        what,
        where=asked.where,
        why=why,
        remedy=remedy,
        status=status,
        reason=reason or f"HTTP{status}",
        causes=causes,
        retry_after_s=retry_after_s,
    )


def _words(asked: ApiRequest, status: int, reason: str, why: str, causes: Sequence[Cause]) -> tuple[str, str]:
    """What is wrong, and the remedy."""
    if status == 403:
        return _forbidden(asked, why, causes)
    if status == 422:
        return _invalid(asked, why)
    if status == 409:
        return _conflicting(asked, reason, causes)
    words = {
        400: (
            "the API server rejects this request",
            "check the output of leviathan render against the cluster's version",
        ),
        401: (
            "the cluster does not accept these credentials",
            "renew the kubeconfig (Talos: talosctl kubeconfig --force), or choose another context: "
            "--set cluster.context=NAME",
        ),
        404: (
            f"{asked.object} does not exist",
            f"leviathan apply; to list what exists: {asked.kubectl} get {asked.resource}{_space(asked)}",
        ),
        410: ("the API server no longer has the requested resource version", "list the objects again"),
        415: (
            "the API server does not support this kind of patch",
            "update the cluster: server-side apply needs Kubernetes 1.22",
        ),
        429: ("the API server is overloaded", "wait a minute and run the command again"),
    }
    other = f"the API server answers with HTTP {status}", f"{asked.kubectl} get --raw {asked.path}"
    if status >= 500:
        other = "the API server has an internal error", f"{asked.kubectl} get --raw '/readyz?verbose'"
        if asked.path.endswith("/log"):  # the API server gets the log from the kubelet
            what = f"the API server cannot get the log of {asked.object} from its node"
            other = what, f"check that the node is up: {asked.kubectl} get nodes"
    return words.get(status, other)


def _conflicting(asked: ApiRequest, reason: str, causes: Sequence[Cause]) -> tuple[str, str]:
    if any(each.manager for each in causes):
        return (
            f"other field managers own fields of {asked.object}",
            "run `leviathan diff`, then keep their values, or take the fields over with --force-conflicts",
        )
    if reason == "AlreadyExists":
        return f"{asked.object} exists already", f"{asked.kubectl} get {asked.object}{_space(asked)}"
    return f"{asked.object} was changed by someone else at the same time", "run the command again"


def _forbidden(asked: ApiRequest, why: str, causes: Sequence[Cause]) -> tuple[str, str]:
    if "violates PodSecurity" in why:
        return (
            "the namespace's Pod Security standard refuses the pod",
            f"{asked.kubectl} label namespace {asked.namespace} pod-security.kubernetes.io/enforce=privileged "
            "--overwrite, or --set workload.variant=unprivileged",
        )
    if "RuntimeClass" in why and "not found" in why:
        return (
            "the pod's RuntimeClass does not exist",
            f"install it, or choose another one with --set cluster.runtime_class=NAME; to list them: {asked.kubectl} "
            "get runtimeclass",
        )
    if asked.resource in VOLUMES and re.search("can be (resized|expanded)", why):
        return f"{asked.object} cannot be resized", RECREATE
    if "exceeded quota" in why:
        return "a resource quota is exceeded", f"{asked.kubectl} describe resourcequota{_space(asked)}"
    if any(each.reason == "NamespaceTerminating" for each in causes):
        return (
            f"the namespace {asked.namespace} is being deleted",
            f"wait until it is gone: {asked.kubectl} wait --for=delete namespace/{asked.namespace}",
        )
    verb = VERBS.get(asked.method, "get")
    return (
        f"forbidden: this kubeconfig may not {verb} {asked.resource}"
        f"{f' in {asked.namespace}' if asked.namespace else ''}",
        f"ask the cluster's administrator for the permission; to check it: {asked.kubectl} auth can-i {verb} "
        f"{asked.resource}{_space(asked)}",
    )


def _invalid(asked: ApiRequest, why: str) -> tuple[str, str]:
    what = f"the API server rejects {asked.object} as invalid"
    if asked.resource in VOLUMES and ("immutable" in why or "can not be less than" in why):
        return what, RECREATE
    if "is immutable" in why or "when strategy `type`" in why:  # the existing object cannot be changed to ours
        name = asked.object.split("/")[-1]
        return what, f"{asked.kubectl} delete {asked.resource} {name}{_space(asked)}, then run the command again"
    if "port is already allocated" in why:
        return what, (
            f"--set engine.node_port=PORT; to see which Service uses it: {asked.kubectl} get services --all-namespaces"
        )
    return what, "correct the site file (leviathan site shows its values) or the manifests"


def _space(asked: ApiRequest) -> str:
    return f" -n {asked.namespace}" if asked.namespace else ""


def _status(body: bytes | str | None) -> Mapping[str, Any]:
    """The Status object of a body, or an empty one."""
    try:
        answer = json.loads(body or "")
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _plain(body: bytes | str | None) -> str:
    start = (body or "")[:4000]
    text = start.decode("utf-8", "replace") if isinstance(start, bytes) else start
    return re.sub(r"<[^>]*>", " ", text)[:200] or "the answer has no text"


def unreachable(asked: ApiRequest, error: BaseException) -> ClusterError:
    """The error for a connection that failed, broke or timed out."""
    why = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in why or "SSLError" in why or "SSLCert" in why or "[SSL" in why:
        return ClusterError(
            "the API server's TLS certificate does not match the kubeconfig",
            where=asked.where,
            why=_short(why),
            remedy="get a new kubeconfig (Talos: talosctl kubeconfig --force), or correct its fields server and "
            "certificate-authority",
            reason="TLS",
        )
    if unknown_host(error):
        return ClusterError(
            "cannot resolve the API server's host name",
            where=asked.where,
            why=_short(why),
            remedy=f"correct the proxy {asked.proxy}" if asked.proxy else "correct the field server in the kubeconfig",
            reason="UnknownHost",
        )
    return ClusterError(
        "cannot reach the API server",
        where=asked.where,
        why=_short(why),
        remedy="check the field server in the kubeconfig, and that the machine is up: "
        f"{asked.kubectl} get --raw /readyz",
        reason="Unreachable",
    )


def _short(why: str) -> str:
    """The last, informative part of urllib3's message."""
    text = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", why)
    text = re.sub(r"^.*Caused by \w+\((.*)\)\)$", r"\1", text, flags=re.DOTALL)
    text = re.sub(r"^SSLError\s+", "", text)
    return text[:300]
