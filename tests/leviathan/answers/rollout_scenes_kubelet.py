"""Scenes in which the kubelet has something to say: the image, volumes, the sandbox, the container, the pod's end."""

from typing import Any

from played_kubelet import Kubelet, ended
from rollout_bench import Bench, scene

PULL = 'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
# --- the image

PULLS = {
    "image-http-registry": 'failed to do request: Head "https://{host}/v2/omni/engine/manifests/{digest}": http: server'
    " gave HTTP response to HTTPS client",
    "image-unauthorized": "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to"
    " https://{host}/token?scope=repository%3Aomni%2Fengine%3Apull: 401 Unauthorized",
    "image-certificate": 'failed to do request: Head "https://{host}/v2/omni/engine/manifests/{digest}": tls: failed to'
    " verify certificate: x509: certificate signed by unknown authority",
    "registry-down": 'failed to do request: Head "http://{host}/v2/omni/engine/manifests/{digest}": dial tcp {host}:'
    " connect: connection refused",
    "registry-unreachable": 'failed to do request: Head "http://{host}/v2/omni/engine/manifests/{digest}": dial tcp'
    " {host}: i/o timeout",
}


def _pull(name: str, tail: str) -> None:
    @scene(name)
    def play(bench: Bench) -> None:
        bench.apply()
        kubelet = bench.kubelet()
        host, digest = kubelet.image.split("/", 1)[0], kubelet.image.rsplit("@", 1)[1]
        head = f"rpc error: code = Unknown desc = {PULL.format(image=kubelet.image)}"
        kubelet.pull_failed(head + tail.format(host=host, digest=digest))


for _name, _tail in PULLS.items():
    _pull(_name, _tail)


@scene("image-not-found")
def image_not_found(bench: Bench) -> None:
    bench.apply()
    kubelet = bench.kubelet()
    head = PULL.format(image=kubelet.image)
    kubelet.pull_failed(f"rpc error: code = NotFound desc = {head}{kubelet.image}: not found")


@scene("image-not-found-in-an-event")
def image_not_found_in_an_event(bench: Bench) -> None:
    """A kubelet before 1.31: the waiting container does not say why."""
    bench.apply()
    kubelet = bench.kubelet()
    kubelet.pull_failed(f"rpc error: code = NotFound desc = {PULL.format(image=kubelet.image)}not found")
    kubelet.waiting("ImagePullBackOff", f'Back-off pulling image "{kubelet.image}"')


# --- volumes and the sandbox


def _mount_failed(bench: Bench, message: str) -> None:
    bench.apply()
    kubelet = bench.kubelet()
    kubelet.event("FailedMount", message, warning=True, container=False)
    wait = (
        "Unable to attach or mount volumes: unmounted volumes=[models], unattached volumes=[], failed to process"
        " volumes=[]: timed out waiting for the condition"
    )
    kubelet.event("FailedMount", wait, warning=True, container=False)


@scene("partition-missing", "workload.variant=unprivileged")
def partition_missing(bench: Bench) -> None:
    _mount_failed(
        bench,
        'MountVolume.NewMounter initialization failed for volume "leviathan-models" : path "/dev/nvme0n1p1" does not'
        " exist",
    )


@scene("partition-filesystem", "workload.variant=unprivileged")
def partition_filesystem(bench: Bench) -> None:
    place = "/var/lib/kubelet/plugins/kubernetes.io/local-volume/mounts/leviathan-models"
    _mount_failed(
        bench,
        f'MountVolume.MountDevice failed for volume "leviathan-models" : local: failed to mount device /dev/nvme0n1p1'
        f" at {place} (fstype: xfs), error mount failed: exit status 32\nMounting command: mount\nMounting arguments:"
        f" -t xfs -o ro,noatime,defaults /dev/nvme0n1p1 {place}\nOutput: mount: {place}: wrong fs type, bad option, bad"
        " superblock on /dev/nvme0n1p1, missing codepage or helper program, or other error.",
    )


@scene("runtime-missing")
def runtime_missing(bench: Bench) -> None:
    bench.apply()
    bench.kubelet().event(
        "FailedCreatePodSandBox",
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for"
        ' "nvidia" is configured',
        warning=True,
        container=False,
        count=4,
    )


# --- the container


@scene("out-of-memory")
def out_of_memory(bench: Bench) -> None:
    bench.apply()
    bench.kubelet().crashing(ended(137, "OOMKilled"), 1)


@scene("out-of-memory-running-again")
def out_of_memory_running_again(bench: Bench) -> None:
    bench.apply()
    bench.kubelet().running(last={"terminated": ended(137, "OOMKilled")}, restarts=1)


@scene("crash")
def crash(bench: Bench) -> None:
    bench.apply()
    message = (
        "leviathan: /models is on /dev/nvme0n1p1 (xfs, read-only)\n"
        "error: /models/models/deepseek-v3-gguf: no GGUF file: name the folder of the GGUF files\n"
    )
    bench.kubelet().crashing(ended(1, "Error", message), 3)


@scene("crash-once")
def crash_once(bench: Bench) -> None:
    bench.apply()
    bench.kubelet().crashing(ended(1, "Error", "error: nvidia-smi does not answer: look at the driver\n"), 0)


@scene("port-taken")
def port_taken(bench: Bench) -> None:
    bench.apply()
    message = "error: 0.0.0.0:30000: cannot listen: Address already in use: choose another --port\n"
    bench.kubelet().crashing(ended(1, "Error", message), 2)


@scene("wrong-cpu")
def wrong_cpu(bench: Bench) -> None:
    bench.apply()
    message = (
        "error: the engine has ended by SIGILL: this CPU cannot run that build: set LEVIATHAN_MARCH to an older one\n"
    )
    bench.kubelet().crashing(ended(1, "Error", message), 1)


@scene("startup-probe")
def startup_probe(bench: Bench) -> None:
    bench.apply()
    kubelet = bench.kubelet()
    unhealthy = "Startup probe failed: HTTP probe failed with statuscode: 503"
    kubelet.event("Unhealthy", unhealthy, warning=True, count=152)
    kubelet.event("Killing", "Container engine failed startup probe, will be restarted")
    message = "leviathan: stopping: no more requests are taken\n"
    kubelet.running(last={"terminated": ended(0, "Completed", message)}, restarts=1)


@scene("liveness-probe")
def liveness_probe(bench: Bench) -> None:
    bench.apply()
    kubelet = bench.kubelet()
    kubelet.event("Killing", "Container engine failed liveness probe, will be restarted")
    kubelet.running(last={"terminated": ended(137, "Error")}, restarts=2)


@scene("entry-point")
def entry_point(bench: Bench) -> None:
    bench.apply()
    message = (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed:"
        ' unable to start container process: error during container init: exec: "python3": executable file not found in'
        " $PATH"
    )
    start = {**ended(128, "StartError", message), "startedAt": "1970-01-01T00:00:00Z"}
    bench.kubelet().crashing(start, 2)


@scene("gpu-runtime")
def gpu_runtime(bench: Bench) -> None:
    bench.apply()
    message = (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed:"
        " unable to start container process: error during container init: error running prestart hook #0: exit status"
        " 1, stdout: , stderr: nvidia-container-cli: initialization error: nvml error: driver/library version mismatch"
    )
    bench.kubelet().waiting("RunContainerError", message)


@scene("config-missing")
def config_missing(bench: Bench) -> None:
    bench.apply()
    bench.kubelet().waiting("CreateContainerConfigError", 'secret "leviathan-api-key" not found')


# --- the node


@scene("evicted")
def evicted(bench: Bench) -> None:
    bench.apply()
    kubelet = bench.kubelet()
    kubelet.running()
    message = (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 61044Ki. Container engine was"
        " using 301234567Ki, request is 256Gi, has larger consumption of memory. "
    )
    condition = {"type": "DisruptionTarget", "reason": "TerminationByKubelet", "message": message}
    kubelet.event("Evicted", message, warning=True, container=False)
    kubelet.failed("Evicted", message, condition=condition)
    again = Kubelet(bench.cluster, bench.until("another pod", lambda: _other(bench, kubelet)))
    again.failed("Evicted", message, condition=condition)
    bench.until("a third pod", lambda: len(bench.pods()) > 2)


@scene("gpu-refused")
def gpu_refused(bench: Bench) -> None:
    bench.apply()
    kubelet = bench.kubelet()
    message = (
        "Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu."
        " Requested: 2, Available: 1, which is unexpected"
    )
    kubelet.failed("UnexpectedAdmissionError", message)
    again = Kubelet(bench.cluster, bench.until("another pod", lambda: _other(bench, kubelet)))
    again.failed("UnexpectedAdmissionError", message)


def _other(bench: Bench, kubelet: Kubelet) -> dict[str, Any] | None:
    pods = [pod for pod in bench.pods() if pod["metadata"]["name"] != kubelet.name and pod["spec"].get("nodeName")]
    return next(iter(pods), None)
