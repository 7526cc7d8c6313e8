"""Finds out why the kubelet cannot mount the pod's volumes or create its sandbox.

Source of the words: the kubelet's FailedMount and FailedCreatePodSandBox events, mount(8) and containerd.
"""

from collections.abc import Iterator

from leviathan.cluster.objects import container_of, state_of
from leviathan.rollout.diagnose.cases import Case, explain
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot, title

MOUNT = ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedMountOnFilesystemMismatch")
SANDBOX = ("FailedCreatePodSandBox", "FailedPodSandBoxStatus")
LOOK = "talosctl -n {address} get discoveredvolumes"

MOUNTS = (
    Case(
        r"(special device|path) \"?(?P<path>/dev/[^\" ]+)\"? does not exist|(?P<lost>/dev/\S+): No such file",
        "partition-missing",
        Severity.FATAL,
        "the node has no partition {path}{lost}",
        LOOK + ", then leviathan apply --set storage.partition=/dev/...",
    ),
    Case(
        r"wrong fs type|bad superblock|unknown filesystem type|structure needs cleaning|FilesystemMismatch"
        r"|can't read superblock",
        "partition-filesystem",
        Severity.FATAL,
        "the partition {partition} cannot be mounted as {filesystem}",
        LOOK
        + " shows its file system (storage.filesystem); an XFS that was not unmounted cleanly must be mounted writable"
        " once before it can be mounted read-only",
    ),
    Case(
        r"already mounted|mount point busy|device is busy|resource busy",
        "partition-busy",
        Severity.WAIT,
        "the partition {partition} is in use",
        "delete the pod that uses it; to find it: {cluster} get pods -A --field-selector spec.nodeName={node}",
    ),
    Case(
        r"(?P<kind>configmap|secret|object) \"(?P<name>[^\"]*)\" (not found|not registered)",
        "volume-source",
        Severity.FATAL,
        "the pod mounts the {kind} {name}, which does not exist",
        "{kubectl} get {kind}s, then create it, or remove the reference from the manifests",
    ),
    Case(
        r"exceeds? .*(size|memory)|cannot allocate memory",
        "volume-memory",
        Severity.FATAL,
        "there is not enough memory for a volume of the pod",
        "lower resources.shm, then leviathan apply",
    ),
    Case(
        r"timed out|deadline exceeded|expired waiting",
        "volume-slow",
        Severity.WAIT,
        "mounting a volume of the pod timed out",
        "{kubectl} describe {where}; {cluster} describe node {node}",
    ),
    Case(r"", "volume", Severity.FATAL, "a volume of the pod cannot be mounted", "{kubectl} describe {where}; " + LOOK),
)
SANDBOXES = (
    Case(
        r"no runtime for \"(?P<handler>[^\"]*)\" is configured",
        "runtime-missing",
        Severity.FATAL,
        "containerd on the node has no runtime {handler}",
        "install Talos' NVIDIA container toolkit extension on {node}: talosctl -n {address} get extensions; then"
        " {cluster} get runtimeclass {runtime_class} -o yaml",
    ),
    Case(
        r"cni|network",
        "pod-network",
        Severity.WAIT,
        "the node cannot set up the pod's network",
        "check that the network plugin runs: {cluster} -n kube-system get pods -o wide --field-selector"
        " spec.nodeName={node}",
    ),
    Case(
        r"",
        "sandbox",
        Severity.WAIT,
        "the node cannot create the pod's sandbox",
        "{kubectl} describe {where}; talosctl -n {address} logs cri",
    ),
)


def mount_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about the newest pod, until its container has been created."""
    pod = snapshot.pod
    if pod is None or not pod["spec"].get("nodeName"):
        return
    kind, fields = state_of(container_of(pod))
    if kind and (kind != "waiting" or fields.get("reason") not in ("ContainerCreating", "PodInitializing")):
        return
    for reasons, cases in ((MOUNT, MOUNTS), (SANDBOX, SANDBOXES)):
        told = [event for event in snapshot.about(pod) if event.reason in reasons]
        if not told:
            continue
        # Besides the cause, the kubelet also reports that it waits: "timed out waiting for the condition".
        telling = [event for event in told if "waiting for the condition" not in event.message] or told
        yield explain(cases, telling[-1].message, title(pod), commands)
