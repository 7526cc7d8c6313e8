"""The causes that a text decides: pull errors, reasons of the scheduler, mounts."""

from collections.abc import Callable
from typing import Any

import pytest
from rollout_findings import WAIT, findings

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
