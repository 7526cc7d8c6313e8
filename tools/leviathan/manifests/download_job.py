"""The Job that downloads the model: the engine's image with its downloader, on the site's storage."""

from typing import Any

from leviathan.manifests.files import Object
from leviathan.manifests.networking import object_of
from leviathan.site.choices import Storage
from leviathan.site.schema import Site

DOWNLOADER = "leviathan_engine.download"
#: Keys of model.token_secret become variables: HF_TOKEN, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE ...
TTL_S = 7 * 24 * 3600
#: Times that the container may fail: each run resumes where the one before ended.
BACKOFF = 20
LIMITS = {"cpu": "4", "memory": "2Gi"}
REQUESTS = {"cpu": "1", "memory": "512Mi"}
USER = 65532


def name_of(site: Site) -> str:
    """The Job's name."""
    return f"{site.workload.deployment}-download"[:63].rstrip("-")


def arguments(site: Site) -> list[str]:
    """The downloader's flags."""
    model = site.model
    found = [f"--to={site.engine.model_path}", f"--done={model.done_marker}", f"--hub={model.hub}"]
    if model.repository:
        found += [f"--repo={model.repository}", f"--revision={model.revision}"]
        found += [f"--include={pattern}" for pattern in model.include or ("*.gguf",)]
    found += [f"--url={url}" for url in model.urls]
    if site.storage.kind is Storage.PARTITION:
        found += [f"--device={site.storage.partition}", f"--mount_point={site.storage.mount_point}"]
        found.append(f"--filesystem={site.storage.filesystem}")
    return found


def job(site: Site, image: str) -> Object:
    """The Job. Only a partition needs a privileged pod, which mounts it for writing; a claim is written as a user."""
    container: dict[str, Any] = {
        "name": "download",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", DOWNLOADER],
        "args": arguments(site),
        "resources": {"limits": LIMITS, "requests": REQUESTS},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod: dict[str, Any] = {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "tolerations": [
            {"key": key, "operator": "Exists", "effect": "NoSchedule"}
            for key in ("node-role.kubernetes.io/control-plane", "nvidia.com/gpu")
        ],
        "containers": [container],
    }
    if site.node_selector:
        pod["nodeSelector"] = site.node_selector
    if site.image.pull_secret:
        pod["imagePullSecrets"] = [{"name": site.image.pull_secret}]
    if site.model.token_secret:
        container["envFrom"] = [{"secretRef": {"name": site.model.token_secret}}]
    _storage(site, pod, container)
    labels = {"app": name_of(site)}
    spec = {
        "backoffLimit": BACKOFF,
        "ttlSecondsAfterFinished": TTL_S,
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    made = object_of(site, "batch/v1", "Job", name_of(site), spec=spec)
    made["metadata"]["labels"]["app"] = name_of(site)
    return made


def _storage(site: Site, pod: dict[str, Any], container: dict[str, Any]) -> None:
    if site.storage.kind is Storage.PARTITION:
        container["securityContext"] = {"privileged": True}
        pod["volumes"] = [{"name": "disk-names", "hostPath": {"path": "/dev/disk"}}]
        container["volumeMounts"] = [{"name": "disk-names", "mountPath": "/dev/disk", "readOnly": True}]
        return
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    # A new volume is root's: fsGroup makes it writable for the group, once.
    pod["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": site.claim}}]
    container["volumeMounts"] = [{"name": "models", "mountPath": site.storage.mount_point}]
