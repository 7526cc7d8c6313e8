"""Fits the templates to a site that differs in kind: its storage, its Service, what its pod does without.

The templates are the runbook's; what a site does not have is taken out of them here.
"""

from typing import Any
from urllib.parse import urlsplit

from leviathan.manifests.fields import ENGINE, POD, get_field
from leviathan.manifests.files import Object
from leviathan.manifests.policy_rules import KEPT
from leviathan.site.choices import ApiKey, Kept, ServiceType, Storage, Variant
from leviathan.site.schema import Site

#: The label of a release's objects, that distinguishes two releases in a namespace.
INSTANCE = "app.kubernetes.io/instance"
#: Where the engine has the volume for conversations that left the GPUs.
KEPT_FOLDER = "/kept"
#: What the privileged launcher mounts without being told.
LAUNCHERS_FILESYSTEM = "xfs"


def fit_storage(objects: list[Object], site: Site) -> list[Object]:
    """The template's objects, with the volume and the claim that the site's storage has.

    partition: a local volume of the device. host_path: a local volume of the folder, so that the pod needs no hostPath.
    pvc: a claim of a class alone. existing_claim: neither.
    """
    kind = site.storage.kind
    without = {
        Storage.PARTITION: set[str](),
        Storage.HOST_PATH: set[str](),
        Storage.PVC: {"PersistentVolume"},
        Storage.EXISTING_CLAIM: {"PersistentVolume", "PersistentVolumeClaim"},
    }[kind]
    found = [each for each in objects if each["kind"] not in without]
    for each in found:
        spec = each.get("spec", {})
        if each["kind"] == "PersistentVolume" and kind is Storage.HOST_PATH:
            del (
                spec["local"]["fsType"],
                spec["mountOptions"],
            )  # a folder is never formatted; the pod mounts it read-only
        if each["kind"] == "PersistentVolumeClaim":
            if kind is Storage.PVC:
                del spec["volumeName"], spec["storageClassName"]
                if site.storage.storage_class:
                    spec["storageClassName"] = site.storage.storage_class
            else:
                spec["volumeName"] = site.volume
    return found


def local_volume(site: Site) -> list[tuple[tuple[str, ...], Any]]:
    """What is set in the `local` part of the volume: path → value."""
    if site.storage.kind is Storage.HOST_PATH:
        return [(("spec", "local", "path"), site.storage.path)]
    return [
        (("spec", "local", "path"), site.storage.partition),
        (("spec", "local", "fsType"), site.storage.filesystem),
    ]


def fit_service(service: Object, site: Site) -> None:
    """The node's port where there is one."""
    (port,) = (each for each in service["spec"]["ports"] if each["name"] == "http")
    if site.service.type is ServiceType.NODE_PORT and site.engine.node_port:
        port["nodePort"] = site.engine.node_port
    else:
        del port["nodePort"]


def fit_pod(deployment: Object, site: Site) -> None:
    """What the site's pod has beyond the template, or does without."""
    pod = get_field(deployment, POD)
    if not site.cluster.runtime_class:
        del pod["runtimeClassName"]
    if not site.node_selector:
        del pod["nodeSelector"]
    if site.image.pull_secret:
        pod["imagePullSecrets"] = [{"name": site.image.pull_secret}]
    if site.workload.variant is Variant.PRIVILEGED and site.storage.filesystem != LAUNCHERS_FILESYSTEM:
        variable = {"name": "LEVIATHAN_FILESYSTEM", "value": site.storage.filesystem}
        get_field(deployment, (*ENGINE, "env")).append(variable)
    _keep(deployment, site)
    names = _names(site)
    if site.access.api_key is ApiKey.OFF and names:  # without a key the front answers to names that it knows
        get_field(deployment, (*ENGINE, "env")).append({"name": "LEVIATHAN_HOSTS", "value": ",".join(names)})
    if site.access.api_key is ApiKey.SECRET:
        _mount_secret(deployment, "api-key", site.api_key_secret, LEVIATHAN_API_KEY_FILE="api-key")
    if site.access.tls_secret:
        _mount_secret(
            deployment,
            "tls",
            site.access.tls_secret,
            LEVIATHAN_TLS_CERT_FILE="tls.crt",
            LEVIATHAN_TLS_KEY_FILE="tls.key",
        )
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            get_field(deployment, (*ENGINE, probe, "httpGet"))["scheme"] = "HTTPS"


def _keep(deployment: Object, site: Site) -> None:
    """A volume for conversations that left the GPUs, and the flags that name it."""
    engine, pod = site.engine, get_field(deployment, POD)
    if engine.kept is Kept.MEMORY:
        return
    # The kubelet evicts a pod whose emptyDir is over its size: a tenth is left for files under way.
    volume: Object = {"name": KEPT, "emptyDir": {"sizeLimit": f"{engine.kept_gb * 1.1:.0f}G"}}
    if engine.kept is Kept.CLAIM:
        volume = {"name": KEPT, "persistentVolumeClaim": {"claimName": engine.kept_claim}}
        if site.workload.variant is Variant.UNPRIVILEGED:  # the model's volume is read-only, so its owner stays
            pod["securityContext"] |= {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
    pod["volumes"].append(volume)
    get_field(deployment, (*ENGINE, "volumeMounts")).append({"name": KEPT, "mountPath": KEPT_FOLDER})
    flags = [f"--kv_dir={KEPT_FOLDER}", f"--kv_disk={engine.kept_gb * 1000:.0f}"]
    get_field(deployment, (*ENGINE, "args")).extend(flags)


def _names(site: Site) -> list[str]:
    """The host names by which clients reach the engine besides its address."""
    found = [urlsplit(site.service.url).hostname or "", site.access.ingress_host, site.access.gateway_host]
    if site.service.type is ServiceType.CLUSTER_IP:
        short = f"{site.workload.service}.{site.cluster.namespace}"
        found += [site.workload.service, short, f"{short}.svc", f"{short}.svc.cluster.local"]
    return sorted({name for name in found if name})


def _mount_secret(deployment: Object, name: str, secret: str, **variables: str) -> None:
    """Mount a Secret below /etc/leviathan, and name its files in variables: the front reads them again on a change."""
    folder = f"/etc/leviathan/{name}"
    get_field(deployment, (*POD, "volumes")).append({"name": name, "secret": {"secretName": secret}})
    mount = {"name": name, "mountPath": folder, "readOnly": True}
    get_field(deployment, (*ENGINE, "volumeMounts")).append(mount)
    found = [{"name": variable, "value": f"{folder}/{file}"} for variable, file in variables.items()]
    get_field(deployment, (*ENGINE, "env")).extend(found)
