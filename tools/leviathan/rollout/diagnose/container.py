"""Finds out why the engine's container does not run, or keeps ending.

Source: Kubernetes API, ContainerState v1; the kubelet's Killing events; exit codes above 128 are 128 + signal (bash).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from leviathan.cluster.objects import Object, container_of, is_ready, state_of
from leviathan.rollout.diagnose.cases import Case, explain
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot, title

LOGS = "{logs}"
RUN_ERRORS = frozenset({"CreateContainerError", "RunContainerError", "CreateContainerConfigError", "StartError"})

CANNOT_RUN = (
    Case(
        r"(?P<kind>configmap|secret) \"(?P<name>[^\"]*)\" not found|couldn't find key .* in (?P<other>\S+ \S+)",
        "config-missing",
        Severity.FATAL,
        "the container needs the {kind}{other} {name}, which does not exist",
        "{kubectl} get configmaps,secrets, then create it, or remove the reference from the manifests",
    ),
    Case(
        r"runAsNonRoot|run as root",
        "runs-as-root",
        Severity.FATAL,
        "the image would run as root, which the pod's securityContext forbids",
        "keep runAsUser in manifests/leviathan-unprivileged.yaml, then leviathan apply",
    ),
    Case(
        r"nvidia-container|nvidia-smi|libnvidia|NVML|CDI device|unresolvable CDI|cuda",
        "gpu-runtime",
        Severity.FATAL,
        "the NVIDIA container runtime cannot attach the GPUs to the container",
        "talosctl -n {address} dmesg | grep -i -E 'nvidia|nvrm'; the driver extension and the toolkit extension must"
        " have the same version: talosctl -n {address} get extensions",
    ),
    Case(
        r"executable file not found|no such file or directory|exec format error",
        "entry-point",
        Severity.FATAL,
        "the image does not contain the program that the container starts",
        "remove `command` from the manifest if it sets one; else build and push the image again: nix build"
        " .#leviathan-image && leviathan deploy",
    ),
    Case(
        r"cgroup|memory limit too low",
        "container-memory",
        Severity.FATAL,
        "the container cannot start with this memory limit",
        "raise resources.memory_limit (now {memory_limit}), then leviathan apply",
    ),
    Case(
        r"", "cannot-run", Severity.FATAL, "the container cannot be started", "{kubectl} describe {where}",
    ),
)  # fmt: skip
#: Failures after which the next start may succeed: a disk that was not ready, a GPU that had to be reset.
MAY_DO_BETTER = frozenset({"crash", "killed", "liveness-probe", "engine-ended", "port-taken"})
#: Causes by how a container ended. The text is `REASON, exit code N: MESSAGE`.
ENDS = (
    Case(
        r"^OOMKilled",
        "out-of-memory",
        Severity.FATAL,
        "the engine used more memory than its limit, {memory_limit}, and was killed{times}",
        "raise resources.memory_limit, at most to the node's memory, then leviathan apply; `leviathan plan` shows how"
        " much the model needs",
    ),
    Case(
        r"failed startup probe",
        "startup-probe",
        Severity.FATAL,
        "the start took longer than the startup probe allows, so the kubelet killed the engine{times}",
        LOGS
        + " shows how far it got; to allow more time, lower start.disk_mb_per_s or raise start.margin in the site file,"
        " then leviathan apply",
    ),
    Case(
        r"failed liveness probe",
        "liveness-probe",
        Severity.FATAL,
        "the engine stopped answering, so the kubelet killed it{times}",
        LOGS,
    ),
    Case(
        r"address already in use",
        "port-taken",
        Severity.FATAL,
        "the engine's port {port} is already in use in the pod's network{times}",
        "choose another port: leviathan apply --set engine.port=N; with hostNetwork, list the node's listening ports:"
        " talosctl -n {address} netstat -l",
    ),
    Case(
        r"exit code (132|-4)\b|SIGILL",
        "wrong-cpu",
        Severity.FATAL,
        "the engine uses CPU instructions that the node's CPU does not support{times}",
        LOGS + "; set LEVIATHAN_MARCH to an older CPU in the manifests, then leviathan apply",
    ),
    Case(
        r"exit code 137\b|SIGKILL",
        "killed",
        Severity.FATAL,
        "the engine was killed by a signal from outside{times}",
        "most likely the node ran out of memory: {cluster} describe node {node}; talosctl -n {address} dmesg | grep -i"
        " oom; move other pods off the node, or set resources.memory_limit below the node's memory",
    ),
    Case(
        r"exit code 2\b",
        "engine-usage",
        Severity.FATAL,
        "the engine rejects its flags{times}",
        LOGS + "; correct [engine] in the site file, then leviathan apply",
    ),
    Case(
        r"exit code 0\b",
        "engine-ended",
        Severity.FATAL,
        "the engine exited with status 0{times}",
        LOGS,
    ),
    Case(r"", "crash", Severity.FATAL, "the engine failed{times}", LOGS),
)


def container_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about the engine's container in the newest pod, unless the pod is Ready."""
    pod = snapshot.pod
    if pod is None or is_ready(pod):
        return
    container = container_of(pod)
    kind, fields = state_of(container)
    _, before = state_of(container, "lastState")
    if kind == "waiting" and fields.get("reason") in RUN_ERRORS:
        text = f"{fields['reason']}: {fields.get('message', '')}"
        yield explain(CANNOT_RUN, text, title(pod), commands)
        return
    ended = fields if kind == "terminated" else before
    if not ended:
        return
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        yield explain(CANNOT_RUN, f"{ended['reason']}: {ended.get('message', '')}", title(pod), commands)
        return
    yield _ended(snapshot, commands, pod, ended)


def _ended(snapshot: Snapshot, commands: Commands, pod: Object, ended: Mapping[str, Any]) -> Finding:
    count = int(container_of(pod).get("restartCount", 0))
    kind, _ = state_of(container_of(pod))
    text = ending(ended)
    killing = snapshot.last(pod, "Killing")
    probe = killing.message if killing is not None and "probe" in killing.message else ""
    times = f"; {count} restart{'' if count == 1 else 's'}" if count else ""
    found = explain(
        ENDS,
        text,
        title(pod),
        commands,
        read=f"{probe} {text}" if probe and _by_signal(ended) else text,
        times=times,
        logs=_logs(pod),
    )
    during = snapshot.restarts(pod, count)
    again = kind == "running" and during == 0  # it ended before this watch began, and runs now
    patient = found.code in MAY_DO_BETTER and count < commands.site.rollout.restarts
    severity = Severity.WAIT if again or patient else found.severity
    return Finding(found.code, severity, found.where, found.what, f"{probe}; {text}" if probe else text, found.remedy)


def _logs(pod: Object) -> str:
    """The command that prints the log of the container that ended."""
    return "leviathan logs --previous" if state_of(container_of(pod), "lastState")[0] else "leviathan logs"


def _by_signal(ended: Mapping[str, Any]) -> bool:
    """Whether the exit code fits a kill by the kubelet: SIGTERM, after which the engine exits with 0, or SIGKILL."""
    return int(ended.get("exitCode", 0)) in (0, 137, 143)


def ending(ended: Mapping[str, Any]) -> str:
    """How a container ended, in one line: `Error, exit code 1: the last lines that it wrote`.

    The engine's own error, `error: ...`, is the last of its lines that begins so.
    """
    code = f"exit code {ended.get('exitCode', '?')}" if "signal" not in ended else f"signal {ended['signal']}"
    lines = [line.strip() for line in str(ended.get("message") or "").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    said = errors[-1] if errors else " | ".join(lines[-3:])
    head = f"{ended.get('reason') or 'ended'}, {code}"
    return f"{head}: {said}" if said else head
