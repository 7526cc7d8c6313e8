"""Finds out why the node cannot pull the image, from the messages of the container runtime and the registry.

Source of the words: the kubelet's pull errors, containerd's resolver and Go's net/http, which they quote.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from leviathan.cluster.objects import Object, state_of
from leviathan.cluster.waiting_reasons import IMAGE
from leviathan.rollout.diagnose.cases import Case, explain
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot, title

#: Talos configures the container runtime's registries in the machine configuration.
TALOS = 'talosctl -n {address} patch machineconfig -p \'{{"machine":{{"registries":{{'

CASES = (
    Case(
        r"server gave HTTP response to HTTPS client",
        "image-http-registry",
        Severity.FATAL,
        "the node uses HTTPS, but the registry speaks HTTP",
        TALOS + '"mirrors":{{"{image_host}":{{"endpoints":["http://{image_host}"]}}}}}}}}}}\'',
    ),
    Case(
        r"client sent an HTTP request to an HTTPS server",
        "image-https-registry",
        Severity.FATAL,
        "the node uses HTTP, but the registry speaks HTTPS",
        TALOS + '"mirrors":{{"{image_host}":{{"endpoints":["https://{image_host}"]}}}}}}}}}}\'',
    ),
    Case(
        r"x509:|tls: |certificate",
        "image-certificate",
        Severity.FATAL,
        "the node does not trust the registry's certificate",
        "add the CA's certificate to the node: " + TALOS + '"config":{{"{image_host}":{{"tls":{{"ca":"BASE64"}}'
        "}}}}}}}}}}'",
    ),
    Case(
        r"\b401\b|unauthori[sz]ed|authorization failed|no basic auth|insufficient_scope|\b403\b|forbidden|denied",
        "image-unauthorized",
        Severity.FATAL,
        "the registry requires credentials that the node does not have",
        TALOS + '"config":{{"{image_host}":{{"auth":{{"username":"USER","password":"PASSWORD"}}}}}}}}}}}}\'',
    ),
    Case(
        r"no match for platform",
        "image-platform",
        Severity.FATAL,
        "the image is for amd64, and the node has another CPU architecture",
        "choose another node with cluster.node; to check the architecture: {cluster} get node {node} -o"
        " jsonpath='{{.status.nodeInfo.architecture}}'",
    ),
    Case(
        r"no space left on device",
        "image-disk-full",
        Severity.FATAL,
        "the node's disk is full",
        "{cluster} describe node {node}; talosctl -n {address} usage /var --depth 2",
    ),
    Case(
        r"no such host",
        "image-host-name",
        Severity.FATAL,
        "the node cannot resolve the registry's host name",
        "talosctl -n {address} get resolvers, or set the registry's IP address in registry.host, then leviathan deploy",
    ),
    Case(
        r"connection refused",
        "registry-down",
        Severity.WAIT,
        "the registry refuses connections",
        "start the registry; to check it: curl {registry}/v2/",
    ),
    Case(
        r"no route to host|network is unreachable|i/o timeout|deadline exceeded|TLS handshake timeout",
        "registry-unreachable",
        Severity.WAIT,
        "the node cannot reach the registry",
        "curl {registry}/v2/ from a machine in that network; check addresses and firewalls between {node} and"
        " {image_host}",
    ),
    Case(
        r"\b429\b|toomanyrequests|\b50[0234]\b|server error",
        "registry-busy",
        Severity.WAIT,
        "the registry is overloaded or has an internal error",
        "wait, because the kubelet retries; if it persists, check the registry's log",
    ),
    Case(
        r"unexpected EOF|connection reset|failed size validation|unexpected commit digest|short read",
        "image-cut",
        Severity.WAIT,
        "the image arrives damaged or incomplete",
        "wait, because the kubelet retries; if it persists: leviathan push, and check the registry's disk",
    ),
    Case(
        r"not found|(manifest|name)[ _]unknown|\b404\b",
        "image-not-found",
        Severity.FATAL,
        "the registry does not have the image {image}",
        "leviathan push, after which the kubelet retries; leviathan tags lists the registry's tags",
    ),
    Case(
        r"InvalidImageName|couldn't parse image",
        "image-name",
        Severity.FATAL,
        "the image's name is invalid: {image}",
        "correct [registry] and [image] in the site file, then leviathan apply",
    ),
    Case(
        r"ErrImageNeverPull|not present with pull policy",
        "image-never-pulled",
        Severity.FATAL,
        "the image is not on the node, and imagePullPolicy is Never",
        "leviathan apply, which sets IfNotPresent",
    ),
    Case(
        r"",
        "image-pull",
        Severity.FATAL,
        "the node cannot pull the image",
        "{kubectl} describe {where}; curl {registry}/v2/{repository}/tags/list",
    ),
)


def image_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about containers of the newest pod that wait for their image."""
    pod = snapshot.pod
    if pod is None:
        return
    status = pod.get("status", {})
    for container in (*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])):
        kind, fields = state_of(container)
        reason = str(fields.get("reason", ""))
        if kind == "waiting" and reason in IMAGE:
            image = _image(pod, container)
            text = _text(snapshot, pod, image, reason, str(fields.get("message", "")))
            more = {"image": image, "image_host": image.split("/", 1)[0]}
            yield explain(CASES, text, title(pod), commands, read=_without_names(text, image), **more)


def _image(pod: Object, container: Mapping[str, Any]) -> str:
    """The image's name in the pod's manifest; the status may have another one."""
    wanted = (*(pod["spec"].get("initContainers") or []), *(pod["spec"].get("containers") or []))
    found = (each.get("image", "") for each in wanted if each.get("name") == container.get("name"))
    return str(next(found, "") or container.get("image", ""))


def _text(snapshot: Snapshot, pod: Object, image: str, reason: str, message: str) -> str:
    """The most detailed message. ImagePullBackOff often says only that it waits; then the reason is in an event."""
    said = re.sub(r"^Back-off pulling image \"[^\"]*\"(: )?", "", message)
    event = next(
        (each for each in reversed(snapshot.about(pod)) if each.reason == "Failed" and "pull image" in each.message),
        None,
    )
    if len(said) < len("ErrImagePull: ") + 1 and event is not None:
        said = re.sub(r"^Failed to pull image \"[^\"]*\": ", "", event.message)
    said = re.sub(r"failed to (pull and unpack image|resolve reference) \"[^\"]*\": ", "", said)
    return f"{reason}: {said or message}"


def _without_names(text: str, image: str) -> str:
    """The text without image names and digests: a repository could be called not-found, a digest could contain 401."""
    text = text.replace(image, "IMAGE") if image else text
    return re.sub(r"sha256:[0-9a-f]+|https?://\S+", "IMAGE", text)
