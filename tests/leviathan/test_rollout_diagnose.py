"""Each way that a rollout can fail, as a real API server shows it: each has its own diagnosis and remedy."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
from rollout_support import LOADING, SCENES, healthy, scene

from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Health
from leviathan.rollout.stage import Stage, stage_of

FATAL, WAIT, NOTE = Severity.FATAL, Severity.WAIT, Severity.NOTE
#: scene → the findings, the weightiest first, and the stage.
EXPECTED: dict[str, tuple[list[tuple[str, Severity]], Stage]] = {
    "loading": ([], Stage.LOADING),
    "pulling": ([], Stage.PULLING),
    "ready": ([], Stage.READY),
    "old-pod-stays": ([], Stage.OLD_POD),
    "no-deployment": ([("no-deployment", FATAL)], Stage.NO_DEPLOYMENT),
    "paused": ([("paused", FATAL)], Stage.NO_POD),
    "no-replicas": ([("no-replicas", FATAL)], Stage.NO_POD),
    "no-service": ([("no-service", FATAL)], Stage.READY),
    "pod-security": ([("pod-security", FATAL)], Stage.NO_POD),
    "quota": ([("quota", FATAL)], Stage.NO_POD),
    "limit-range": ([("limit-range", FATAL)], Stage.NO_POD),
    "runtime-class": ([("runtime-class", FATAL)], Stage.NO_POD),
    "deadline": ([("deadline", WAIT)], Stage.LOADING),
    "stranger": ([("stranger", NOTE)], Stage.READY),
    "insufficient-gpu": ([("insufficient-gpu", FATAL)], Stage.SCHEDULING),
    "too-few-gpus": ([("insufficient-gpu", FATAL)], Stage.SCHEDULING),
    "insufficient-cpu": ([("insufficient-cpu", FATAL)], Stage.SCHEDULING),
    "insufficient-memory": ([("insufficient-memory", FATAL)], Stage.SCHEDULING),
    "node-selector": ([("no-node", FATAL), ("node-selector", FATAL)], Stage.SCHEDULING),
    "taint": ([("taint", FATAL)], Stage.SCHEDULING),
    "cordoned": ([("cordoned", FATAL)], Stage.SCHEDULING),
    "volume-unbound": ([("volume-unbound", FATAL)], Stage.SCHEDULING),
    "host-port-taken": ([("host-port-taken", FATAL)], Stage.SCHEDULING),
    "node-not-ready": ([("node-not-ready", WAIT)], Stage.LOADING),
    "image-http-registry": ([("image-http-registry", FATAL)], Stage.IMAGE),
    "image-unauthorized": ([("image-unauthorized", FATAL)], Stage.IMAGE),
    "image-certificate": ([("image-certificate", FATAL)], Stage.IMAGE),
    "registry-down": ([("registry-down", WAIT)], Stage.IMAGE),
    "registry-unreachable": ([("registry-unreachable", WAIT)], Stage.IMAGE),
    "image-not-found": ([("image-not-found", FATAL)], Stage.IMAGE),
    "image-not-found-in-an-event": ([("image-not-found", FATAL)], Stage.IMAGE),
    "partition-missing": ([("partition-missing", FATAL)], Stage.CREATING),
    "partition-filesystem": ([("partition-filesystem", FATAL)], Stage.CREATING),
    "runtime-missing": ([("runtime-missing", FATAL)], Stage.CREATING),
    "out-of-memory": ([("out-of-memory", FATAL)], Stage.DOWN),
    "out-of-memory-running-again": ([("out-of-memory", FATAL)], Stage.LOADING),
    "crash": ([("crash", FATAL)], Stage.DOWN),
    "crash-once": ([("crash", WAIT)], Stage.DOWN),
    "port-taken": ([("port-taken", FATAL)], Stage.DOWN),
    "wrong-cpu": ([("wrong-cpu", FATAL)], Stage.DOWN),
    "startup-probe": ([("startup-probe", FATAL)], Stage.LOADING),
    "liveness-probe": ([("liveness-probe", FATAL)], Stage.LOADING),
    "entry-point": ([("entry-point", FATAL)], Stage.DOWN),
    "gpu-runtime": ([("gpu-runtime", FATAL)], Stage.DOWN),
    "config-missing": ([("config-missing", FATAL)], Stage.DOWN),
    "evicted": ([("evicted", FATAL)], Stage.CREATING),
    "gpu-refused": ([("gpu-refused", FATAL)], Stage.CREATING),
}


def findings(name: str, change: Callable[[Any], None] | None = None, **more: Any) -> tuple[Finding, ...]:
    recorded = scene(name)
    if change is not None:
        change(recorded)
    return diagnose(recorded.snapshot(**more), Commands(recorded.site))


def test_every_recording_is_expected_and_every_expectation_recorded() -> None:
    assert sorted(EXPECTED) == SCENES


@pytest.mark.parametrize("name", SCENES)
def test_cause_and_stage(name: str) -> None:
    expected, stage = EXPECTED[name]
    assert [(each.code, each.severity) for each in findings(name)] == expected
    assert stage_of(scene(name).snapshot()) is stage


def test_what_to_do(golden: Callable[[str, str], None]) -> None:
    """Every sentence in full: what, where, the cluster's words, the command; names that differ by run made equal."""
    lines = []
    for name in SCENES:
        lines.append(f"{name}:")
        for each in findings(name):
            text = re.sub(r"(cortex-leviathan)-[0-9a-f]+-[a-z0-9]{5}\b", r"\1-POD", each.text())
            text = re.sub(r"(cortex-leviathan)-[0-9a-f]{8,10}\b", r"\1-SET", text)
            lines.append(f"  {each.severity.value}: {text}")
    golden("rollout-findings.txt", "\n".join(lines) + "\n")


@pytest.mark.parametrize("name", SCENES)
def test_remedies_are_whole(name: str) -> None:
    """No template has a hole left, and every remedy names a command or a key that the user can act on."""
    for each in findings(name):
        assert re.search(r"leviathan|kubectl|talosctl|curl|wait|again|[a-z]+\.[a-z_]+", each.remedy), each.remedy
        assert not re.search(r"\{[a-z_]+\}", each.text()), each.text()
        assert "\n" not in each.text()


def test_context_is_in_every_kubectl() -> None:
    recorded = scene("pod-security")
    site = dataclasses.replace(recorded.site, cluster=dataclasses.replace(recorded.site.cluster, context="lab"))
    (found,) = diagnose(recorded.snapshot(), Commands(site))
    assert "kubectl --context lab label namespace ai-workloads" in found.remedy


PULLS = [
    ('Head "https://r/v2/": http: server gave HTTP response to HTTPS client', "image-http-registry"),
    ('Head "http://r/v2/": client sent an HTTP request to an HTTPS server.', "image-https-registry"),
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "image-certificate"),
    ("unexpected status from HEAD request to https://r/v2/x/manifests/y: 401 Unauthorized", "image-unauthorized"),
    ("pull access denied, repository does not exist or may require authorization", "image-unauthorized"),
    ("unexpected status from HEAD request to http://r/v2/x: 403 Forbidden", "image-unauthorized"),
    ("no match for platform in manifest: not found", "image-platform"),
    ("write /var/lib/containerd/x: no space left on device", "image-disk-full"),
    ("dial tcp: lookup registry.lan on 10.0.0.1:53: no such host", "image-host-name"),
    ("dial tcp 192.168.3.10:5000: connect: connection refused", "registry-down"),
    ("dial tcp 192.168.3.10:5000: connect: no route to host", "registry-unreachable"),
    ("net/http: TLS handshake timeout", "registry-unreachable"),
    ("unexpected status from HEAD request to http://r/v2/x: 429 Too Many Requests", "registry-busy"),
    ("unexpected status from HEAD request to http://r/v2/x: 503 Service Unavailable", "registry-busy"),
    ("failed to copy: httpReadSeeker: failed open: unexpected EOF", "image-cut"),
    ("reading manifest leviathan-standard in 192.168.3.10:5000/omni/engine: manifest unknown", "image-not-found"),
    ("failed to resolve reference: 192.168.3.10:5000/omni/engine@DIGEST: not found", "image-not-found"),
    ('couldn\'t parse image name "a//b": invalid reference format', "image-name"),
    ('Container image "x" is not present with pull policy of Never', "image-never-pulled"),
    ("something that nobody has seen before", "image-pull"),
]


@pytest.mark.parametrize(("text", "code"), PULLS)
def test_pull_errors_are_told_apart(text: str, code: str) -> None:
    def change(recorded: Any) -> None:
        waiting = recorded.pod["status"]["containerStatuses"][0]["state"]["waiting"]
        waiting["message"] = f'Back-off pulling image "x": ErrImagePull: rpc error: code = Unknown desc = {text}'

    assert [each.code for each in findings("image-not-found", change)] == [code]


def test_a_digest_or_a_name_is_no_reason() -> None:
    """A digest may have a 401 in it, and a repository may be called not-found or denied."""

    def change(recorded: Any) -> None:
        digest = f"sha256:{'401' * 21}4"
        image = f"192.168.3.10:5000/denied/not-found@{digest}"
        recorded.pod["spec"]["containers"][0]["image"] = image
        head = f'Head "http://r/v2/denied/manifests/{digest}"'
        message = f'failed to resolve reference "{image}": {head}: dial tcp: i/o timeout'
        waiting = recorded.pod["status"]["containerStatuses"][0]["state"]["waiting"]
        waiting["message"] = f'Back-off pulling image "{image}": ErrImagePull: {message}'

    assert [each.code for each in findings("image-not-found", change)] == ["registry-unreachable"]


def unschedulable(message: str) -> Callable[[Any], None]:
    def change(recorded: Any) -> None:
        for each in recorded.pod["status"]["conditions"]:
            if each["type"] == "PodScheduled":
                each["message"] = message

    return change


def test_what_other_nodes_lack_is_not_said() -> None:
    """The clauses count nodes; only what is true of the node that the site names is a cause."""
    text = (
        "0/4 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {a: b}, 2 node(s)"
        " didn't match Pod's node affinity/selector. preemption: 0/4 nodes are available: 4 Preemption is not helpful."
    )
    assert [each.code for each in findings("insufficient-gpu", unschedulable(text))] == ["insufficient-gpu"]
    # The control: without the node's object nothing can be left out.
    found = findings("insufficient-gpu", unschedulable(text), node=None, unreadable=frozenset({"nodes"}))
    assert [each.code for each in found] == ["insufficient-gpu", "taint", "node-selector"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0/1 nodes are available: 1 Insufficient ephemeral-storage.", "insufficient-resource"),
        ("0/1 nodes are available: 1 Too many pods.", "insufficient-resource"),
        ("0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.", "volume-node"),
        ("0/1 nodes are available: 1 node(s) had volume node affinity conflict.", "volume-node"),
        ('0/1 nodes are available: persistentvolumeclaim "leviathan-models" not found.', "volume-unbound"),
        ("0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.", "volume-unbound"),
        ("no nodes available to schedule pods", "no-nodes"),
        ("0/1 nodes are available: 1 node(s) didn't satisfy plugin(s) [Unheard].", "unschedulable"),
    ],
)
def test_scheduler_reasons(text: str, code: str) -> None:
    assert [each.code for each in findings("insufficient-gpu", unschedulable(text))] == [code]


def test_no_gpu_offered_is_a_device_plugin_that_does_not_run() -> None:
    def change(recorded: Any) -> None:
        recorded.found["nodes"][0]["status"]["allocatable"].pop("nvidia.com/gpu")

    (found,) = findings("insufficient-gpu", change)
    assert "device plugin" in found.remedy
    assert "device plugin" not in findings("insufficient-gpu")[0].remedy


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('MountVolume.SetUp failed for volume "x" : secret "leviathan-key" not found', "volume-source"),
        ("mount: /m: /dev/nvme0n1p1 already mounted or mount point busy.", "partition-busy"),
        (
            "MountVolume.MountDevice failed: mount: /m: special device /dev/nvme0n1p1 does not exist.",
            "partition-missing",
        ),
        (
            'MountVolume.SetUp failed for volume "shm" : fork/exec /usr/bin/mount: cannot allocate memory',
            "volume-memory",
        ),
        ("MountVolume.SetUp failed: unheard", "volume"),
    ],
)
def test_mounts(text: str, code: str) -> None:
    def change(recorded: Any) -> None:
        for each in recorded.found["events"]:
            if each["reason"] == "FailedMount" and "waiting for the condition" not in each["message"]:
                each["message"] = text

    assert [each.code for each in findings("partition-missing", change)] == [code]


def test_a_mount_that_only_takes_long_is_waited_for() -> None:
    def change(recorded: Any) -> None:
        recorded.found["events"] = [
            each for each in recorded.found["events"]
            if each["reason"] != "FailedMount" or "waiting for the condition" in each["message"]
        ]  # fmt: skip

    assert [(each.code, each.severity) for each in findings("partition-missing", change)] == [("volume-slow", WAIT)]


def test_an_old_pod_that_does_not_end_is_said_after_its_grace() -> None:
    recorded = scene("old-pod-stays")
    now = recorded.snapshot().now
    assert findings("old-pod-stays", now=now + 20) == ()
    (found,) = findings("old-pod-stays", now=now + 60)
    assert (found.code, found.severity) == ("old-pod-stays", FATAL)
    assert "--force --grace-period=0" in found.remedy
    assert "only if the node is off" in found.remedy


def test_restarts_before_the_watching_do_not_count_while_it_runs() -> None:
    recorded = scene("out-of-memory-running-again")
    before = {recorded.pod["metadata"]["uid"]: 1}
    (found,) = findings("out-of-memory-running-again", restarts_before=before)
    assert found.severity is WAIT
    (found,) = findings("out-of-memory-running-again", restarts_before={})
    assert found.severity is FATAL


def test_an_eviction_with_a_new_pod_is_waited_for_once() -> None:
    """The first time the ReplicaSet's next pod may go well; the recording has a second one."""

    def change(recorded: Any) -> None:
        failed = [pod for pod in recorded.found["pods"] if pod["status"]["phase"] == "Failed"]
        recorded.found["pods"].remove(failed[0])

    assert [(each.code, each.severity) for each in findings("evicted", change)] == [("evicted", WAIT)]


def test_an_eviction_is_known_by_its_condition_alone() -> None:
    """Some kubelets leave status.reason empty."""

    def change(recorded: Any) -> None:
        for pod in recorded.found["pods"]:
            pod["status"].pop("reason", None)
            pod["status"].pop("message", None)

    (found,) = findings("evicted", change)
    assert found.code == "evicted"
    assert "because memory ran short" in found.what


def test_who_answers_at_the_node_port() -> None:
    other = healthy(404, {"detail": "Not Found"})
    (found,) = findings("ready", health=other)
    assert (found.code, found.severity) == ("port-answered-by-another", FATAL)
    assert [each.severity for each in findings("loading", health=other)] == [WAIT]
    assert findings("ready", health=healthy()) == ()
    assert findings("loading", health=healthy(503, LOADING)) == ()
    assert findings("loading", health=Health(None, {}, "the NodePort", "Connection refused")) == ()


def test_a_failed_engine_says_so_itself() -> None:
    body = LOADING | {"status": "failed", "phase": "failed", "detail": "CUDA error: out of memory"}
    (found,) = findings("loading", health=healthy(503, body))
    assert (found.code, found.why) == ("engine-failed", "CUDA error: out of memory")


def test_a_service_with_another_port_or_selector() -> None:
    def change(recorded: Any) -> None:
        spec = recorded.found["services"][0]["spec"]
        spec["ports"][0]["nodePort"] = 31111
        spec["selector"] = {"app": "other"}

    assert [each.code for each in findings("ready", change)] == ["node-port", "service-selector"]


def test_what_may_not_be_read_is_not_called_missing() -> None:
    hidden: dict[str, Any] = {"node": None, "service": None, "unreadable": frozenset({"nodes", "services"})}
    assert findings("ready", **hidden) == ()
    assert {each.code for each in findings("ready", node=None, service=None)} == {"no-node", "no-service"}


def test_pressure_of_the_node() -> None:
    def change(recorded: Any) -> None:
        pressure = {"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"}
        conditions = recorded.found["nodes"][0]["status"]["conditions"]
        conditions[:] = [*(each for each in conditions if each["type"] != "DiskPressure"), pressure]

    (found,) = findings("loading", change)
    assert (found.code, found.what) == ("node-pressure", "the node is short of disk space")
