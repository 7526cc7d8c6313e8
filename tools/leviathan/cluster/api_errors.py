"""What the Kubernetes API refuses, or why it is not reached, as one line with the way out.

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
    """A request, as errors name it: method, API path, the kubeconfig context and the server that it went to.

    `proxy` is the one that it went through and what names that, or empty.
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
        """`kubectl` with the same context, to begin a remedy."""
        return f"kubectl --context {self.context}" if self.context else "kubectl"

    @property
    def namespace(self) -> str:
        """The namespace of the path, or empty."""
        found = re.search(r"/namespaces/([^/?]+)", self.path)
        return found[1] if found else ""

    @property
    def resource(self) -> str:
        """The resource of the path in the plural, as `kubectl auth can-i` wants it."""
        steps = re.sub(r"^/(api/[^/]+|apis/[^/]+/[^/]+)/", "", self.path).strip("/").split("/")
        if steps[0] == "namespaces" and len(steps) > 2:
            steps = steps[2:]
        return steps[0]

    @property
    def object(self) -> str:
        """`deployments/name`, or `deployments` where the path names none."""
        name = self.path.split(f"/{self.resource}/", 1)
        return f"{self.resource}/{name[1].split('/')[0]}" if len(name) == 2 else self.resource


#: A volume stays bound while its claim is there, and the claim while its pod is: `kubectl delete` of one of them hangs.
VOLUMES = frozenset({"persistentvolumes", "persistentvolumeclaims"})
MADE_ANEW = "leviathan delete, then leviathan apply again (the volume's files stay: its reclaim policy is Retain)"
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}


def refused(asked: ApiRequest, status: int, body: bytes | str | None, retry_after_s: float = 0.0) -> ClusterError:
    """The error for an answer with an HTTP status that is no success; `body` is a Status object or anything else."""
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
    """What happened and the way out."""
    if status == 403:
        return _forbidden(asked, why, causes)
    if status == 422:
        return _invalid(asked, why)
    if status == 409:
        return _conflicting(asked, reason, causes)
    words = {
        400: ("the API server does not take this request", "leviathan render, and compare with the cluster's version"),
        401: (
            "the cluster does not know who you are",
            "renew the kubeconfig (Talos: talosctl kubeconfig --force), or choose another context: "
            "--set cluster.context=NAME",
        ),
        404: (
            f"{asked.object} is not there",
            f"leviathan apply; what there is: {asked.kubectl} get {asked.resource}{_space(asked)}",
        ),
        410: ("the API server has forgotten the version that was asked for", "list again and go on from there"),
        415: ("the API server does not take this kind of patch", "update the cluster: server-side apply needs 1.22"),
        429: ("the API server has too much to do", "wait a minute and run it again"),
    }
    other = f"the API server answers with HTTP {status}", f"{asked.kubectl} get --raw {asked.path}"
    if status >= 500:
        other = "the API server fails", f"{asked.kubectl} get --raw '/readyz?verbose'"
        if asked.path.endswith("/log"):  # which it fetches from the kubelet
            what = f"the log of {asked.object} cannot be had from its node"
            other = what, f"is the node up? {asked.kubectl} get nodes"
    return words.get(status, other)


def _conflicting(asked: ApiRequest, reason: str, causes: Sequence[Cause]) -> tuple[str, str]:
    if any(each.manager for each in causes):
        return (
            f"{asked.object} has fields of other managers",
            "look with `leviathan diff`, then leave the fields to them, or take them over with --force-conflicts",
        )
    if reason == "AlreadyExists":
        return f"{asked.object} is there already", f"{asked.kubectl} get {asked.object}{_space(asked)}"
    return f"{asked.object} was changed by someone at the same moment", "run it again"


def _forbidden(asked: ApiRequest, why: str, causes: Sequence[Cause]) -> tuple[str, str]:
    if "violates PodSecurity" in why:
        return (
            "Pod Security refuses the pod",
            f"{asked.kubectl} label namespace {asked.namespace} pod-security.kubernetes.io/enforce=privileged "
            "--overwrite, or --set workload.variant=unprivileged",
        )
    if "RuntimeClass" in why and "not found" in why:
        return (
            "the pod's RuntimeClass is not there",
            f"{asked.kubectl} get runtimeclass, then install it or --set cluster.runtime_class=NAME",
        )
    if asked.resource in VOLUMES and re.search("can be (resized|expanded)", why):
        return f"{asked.object} cannot be resized", MADE_ANEW
    if "exceeded quota" in why:
        return "a quota refuses it", f"{asked.kubectl} describe resourcequota{_space(asked)}"
    if any(each.reason == "NamespaceTerminating" for each in causes):
        return (
            f"the namespace {asked.namespace} is being deleted",
            f"wait until it is gone: {asked.kubectl} wait --for=delete namespace/{asked.namespace}",
        )
    return (
        "you may not do this",
        f"{asked.kubectl} auth can-i {VERBS.get(asked.method, 'get')} {asked.resource}{_space(asked)}; "
        "who administers the cluster can grant it",
    )


def _invalid(asked: ApiRequest, why: str) -> tuple[str, str]:
    what = f"the API server refuses {asked.object} as invalid"
    if asked.resource in VOLUMES and ("immutable" in why or "can not be less than" in why):
        return what, MADE_ANEW
    if "is immutable" in why or "when strategy `type`" in why:  # what is there stands in the way
        return what, f"{asked.kubectl} delete {asked.resource} {asked.object.split('/')[-1]}{_space(asked)}, then again"
    if "port is already allocated" in why:
        return what, f"--set engine.node_port=PORT; who has it: {asked.kubectl} get services --all-namespaces"
    return what, "correct the site (leviathan site) or manifests/"


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
    return re.sub(r"<[^>]*>", " ", text)[:200] or "without a word"


def unreachable(asked: ApiRequest, error: BaseException) -> ClusterError:
    """The error for a connection that was not made, broke, or took too long."""
    why = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in why or "SSLError" in why or "SSLCert" in why or "[SSL" in why:
        return ClusterError(
            "the API server's TLS does not fit the kubeconfig",
            where=asked.where,
            why=_short(why),
            remedy="get a fresh kubeconfig (Talos: talosctl kubeconfig --force), or correct server: and "
            "certificate-authority in it",
            reason="TLS",
        )
    if unknown_host(error):
        return ClusterError(
            "the API server's name does not resolve",
            where=asked.where,
            why=_short(why),
            remedy=f"correct the proxy {asked.proxy}" if asked.proxy else "correct server: in the kubeconfig",
            reason="UnknownHost",
        )
    return ClusterError(
        "the API server is not reached",
        where=asked.where,
        why=_short(why),
        remedy=f"is the address in the kubeconfig right, and the machine up? {asked.kubectl} get --raw /readyz",
        reason="Unreachable",
    )


def _short(why: str) -> str:
    """The last, telling part of what urllib3 says."""
    text = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", why)
    text = re.sub(r"^.*Caused by \w+\((.*)\)\)$", r"\1", text, flags=re.DOTALL)
    text = re.sub(r"^SSLError\s+", "", text)
    return text[:300]
