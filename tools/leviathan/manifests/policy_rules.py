"""The rules of the policy: each goes over the objects and gives every breach."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.manifests.files import Object
from leviathan.site.quantity import parse_quantity
from leviathan.site.start_budget import StartBudget

MANAGED = ("app.kubernetes.io/managed-by", "leviathan")
ENFORCE = "pod-security.kubernetes.io/enforce"
#: The resource that is missing where a container has none with a vendor's name.
GPU = "nvidia.com/gpu"
#: The one volume with a claim that is written: see fit.py.
KEPT = "kept"
CLUSTER_WIDE = frozenset({"Namespace", "PersistentVolume"})
#: Volume types of the `restricted` Pod Security Standard.
SAFE_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
#: udev's links to the disks: names, no device.
DISK_NAMES = {"path": "/dev/disk"}


@dataclass(frozen=True)
class Violation:
    """A rule that an object breaks, and how."""

    rule: str
    name: str
    why: str

    def text(self) -> str:
        """The finding in one line."""
        return f"{self.rule}: {self.name}: {self.why}"


Rule = Callable[[Sequence[Object], StartBudget], Iterator[Violation]]


def named(each: Object) -> str:
    """An object as findings name it."""
    return f"{each['kind']}/{each['metadata']['name']}"


def objects_are_ours(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """Every object carries the label by which it may be pruned, and stands in the one namespace there is."""
    namespaces = {each["metadata"]["name"] for each in objects if each["kind"] == "Namespace"}
    # Where the namespace is somebody else's, the Deployment says which it is.
    spaces = {each["metadata"].get("namespace") for each in objects if each["kind"] == "Deployment"}
    for each in objects:
        if each["metadata"].get("labels", {}).get(MANAGED[0]) != MANAGED[1]:
            yield Violation("managed-by", named(each), f"lacks the label {MANAGED[0]}: {MANAGED[1]}")
        space = each["metadata"].get("namespace")
        if each["kind"] not in CLUSTER_WIDE and space not in (namespaces or spaces):
            yield Violation("namespace", named(each), f"namespace {space} is none of {sorted(namespaces or spaces)}")


def image_is_pinned(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """By digest, so that what runs is what was tested."""
    for each, _, container in containers(objects):
        if "@sha256:" not in container["image"]:
            yield Violation("image-by-digest", named(each), f"image {container['image']}")


def container_is_confined(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """The `restricted` Pod Security Standard, and a read-only root file system."""
    for each, pod, container in containers(objects):
        security, outer, name = security_of(container), pod.get("securityContext", {}), named(each)
        if security.get("privileged"):
            yield Violation("not-privileged", name, "privileged: true")
        if security.get("allowPrivilegeEscalation") is not False:
            yield Violation("no-new-privileges", name, "allowPrivilegeEscalation is not false")
        capabilities = security.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield Violation("no-capabilities", name, "capabilities are not drop: [ALL]")
        if not (security.get("runAsNonRoot") or outer.get("runAsNonRoot")) or 0 in (
            security.get("runAsUser"),
            outer.get("runAsUser"),
        ):
            yield Violation("not-root", name, "may run as root")
        profile = security.get("seccompProfile", outer.get("seccompProfile", {}))
        if profile.get("type") not in ("RuntimeDefault", "Localhost"):
            yield Violation("seccomp", name, "no seccomp profile")
        if security.get("readOnlyRootFilesystem") is not True:
            yield Violation("read-only-root", name, "readOnlyRootFilesystem is not true")


def pod_keeps_to_itself(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """No host namespaces or paths, no token for the API, a node by selector."""
    for each, pod in _pods(objects):
        name = named(each)
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(key):
                yield Violation("no-host-namespaces", name, f"{key}: true")
        for volume in pod.get("volumes", []):
            kinds = set(volume) - {"name"}
            if volume.get("hostPath") == DISK_NAMES:
                yield Violation("disk-names", name, f"volume {volume['name']} is the node's {DISK_NAMES['path']}")
            elif not kinds <= SAFE_VOLUMES:
                yield Violation("safe-volumes", name, f"volume {volume['name']} is {', '.join(sorted(kinds))}")
        if pod.get("automountServiceAccountToken") is not False:
            yield Violation("no-api-token", name, "automountServiceAccountToken is not false")
        if "nodeName" in pod:
            yield Violation("scheduled", name, "nodeName goes around the scheduler")
        if not pod.get("nodeSelector"):
            yield Violation("node", name, "no nodeSelector for the node")


def resources_are_bounded(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """CPU and memory requested and limited, GPUs the same in both, sizes for emptyDirs."""
    for each, pod, container in containers(objects):
        limits, requests = (container.get("resources", {}).get(kind, {}) for kind in ("limits", "requests"))
        gpu = next((name for name in {**limits, **requests} if "/" in name), GPU)
        starts = container in pod.get("initContainers", [])
        for resource in ("cpu", "memory") if starts else ("cpu", "memory", gpu):
            if resource not in limits or resource not in requests:
                yield Violation("resources", named(each), f"{resource} is not both requested and limited")
            elif parse_quantity(requests[resource]) > parse_quantity(limits[resource]):
                yield Violation("resources", named(each), f"{resource}: request above limit")
        if limits.get(gpu) != requests.get(gpu):
            yield Violation("resources", named(each), f"{gpu} cannot be overcommitted")
        for volume in pod.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield Violation("resources", named(each), f"emptyDir {volume['name']} has no sizeLimit")


def start_fits_the_budget(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """No time-out ends a start that is within its budget, and none ends a busy engine."""
    for each, pod, container in containers(objects):
        name = named(each)
        if each["spec"].get("strategy", {}).get("type") != "Recreate":
            yield Violation("recreate", name, "two pods would want the same GPUs")
        deadline = each["spec"].get("progressDeadlineSeconds", 600)
        if deadline < budget.progress_deadline_s:
            yield Violation("start-budget", name, f"progressDeadlineSeconds {deadline} < {budget.progress_deadline_s}")
        if pod.get("terminationGracePeriodSeconds", 30) < budget.end_s:
            yield Violation("grace", name, f"terminationGracePeriodSeconds below {budget.end_s:g}")
        for probe, least in (("startupProbe", budget.startup_s), ("readinessProbe", 10), ("livenessProbe", 120)):
            if container in pod.get("initContainers", []):
                continue  # it ends before the engine starts
            if probe not in container:
                yield Violation("probes", name, f"no {probe}")
                continue
            seconds = container[probe].get("periodSeconds", 10) * container[probe].get("failureThreshold", 3)
            if seconds < least:
                yield Violation(
                    "start-budget" if probe == "startupProbe" else "probes", name, f"{probe}: {seconds} < {least} s"
                )


def service_reaches_the_pod(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """The Service's selector matches the pod's labels and its target is one of the pod's ports."""
    pods = [each for each in objects if each["kind"] == "Deployment"]
    for service in (each for each in objects if each["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        targets = [each for each in pods if selector <= each["spec"]["template"]["metadata"]["labels"].items()]
        if not targets:
            yield Violation("selector", named(service), "selects no pod")
        for each, pod, container in containers(targets):
            if container in pod.get("initContainers", []):
                continue
            ports = {entry["name"] for entry in container.get("ports", [])}
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in ports:
                    yield Violation(
                        "selector", named(service), f"targetPort {port['targetPort']} is none of {named(each)}"
                    )
    for each in pods:
        wanted = each["spec"]["selector"]["matchLabels"].items()
        if not wanted <= each["spec"]["template"]["metadata"]["labels"].items():
            yield Violation("selector", named(each), "does not select its own pods")


def namespace_lets_the_pod_in(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """Talos enforces `baseline`: a privileged pod needs the namespace's label, and nothing else may weaken it."""
    privileged = any(security_of(container).get("privileged") for _, _, container in containers(objects))
    for each in (each for each in objects if each["kind"] == "Namespace"):
        level = each["metadata"].get("labels", {}).get(ENFORCE)
        if privileged and level != "privileged":
            yield Violation("pod-security", named(each), f"{ENFORCE} is {level}, the privileged pod would be refused")
        if not privileged and level == "privileged":
            yield Violation("pod-security", named(each), f"{ENFORCE}: privileged without need")


def model_is_read_only(objects: Sequence[Object], budget: StartBudget) -> Iterator[Violation]:
    """A volume with the model is mounted read-only, or the kubelet may format it, and stays when its claim goes."""
    for each in (each for each in objects if each["kind"] == "PersistentVolume"):
        device = "local" not in each["spec"] or "fsType" in each["spec"]["local"]
        if device and "ro" not in each["spec"].get("mountOptions", []):
            yield Violation("model-read-only", named(each), "mountOptions lacks ro")
        if each["spec"].get("persistentVolumeReclaimPolicy") != "Retain":
            yield Violation("model-read-only", named(each), "persistentVolumeReclaimPolicy is not Retain")
    for each, pod in _pods(objects):
        for volume in pod.get("volumes", []):
            if volume["name"] == KEPT:
                continue  # conversations are written there, and only there
            if volume.get("persistentVolumeClaim", {}).get("readOnly", True) is not True or (
                "persistentVolumeClaim" in volume and "readOnly" not in volume["persistentVolumeClaim"]
            ):
                yield Violation("model-read-only", named(each), f"volume {volume['name']} is not readOnly")


RULES: tuple[Rule, ...] = (
    objects_are_ours,
    image_is_pinned,
    container_is_confined,
    pod_keeps_to_itself,
    resources_are_bounded,
    start_fits_the_budget,
    service_reaches_the_pod,
    namespace_lets_the_pod_in,
    model_is_read_only,
)


def _pods(objects: Sequence[Object]) -> Iterator[tuple[Object, dict[str, Any]]]:
    for each in objects:
        if each["kind"] == "Deployment":
            yield each, each["spec"]["template"]["spec"]


def containers(objects: Sequence[Object]) -> Iterator[tuple[Object, dict[str, Any], dict[str, Any]]]:
    """Each container of a Deployment: the Deployment, the pod's spec, the container."""
    for each, pod in _pods(objects):
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            yield each, pod, container


def security_of(container: dict[str, Any]) -> dict[str, Any]:
    """The container's own security context, empty where it has none."""
    context: dict[str, Any] = container.get("securityContext", {})
    return context
