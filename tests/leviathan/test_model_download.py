"""model --download: the Job for every kind of storage, what it does for real, and what becomes of its log."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from fakes.replay_api import Answer, ReplayApi
from tiny_gguf import write_tiny

from hub_double import REPOSITORY, HubDouble
from leviathan.cluster.client import Cluster
from leviathan.errors import ExitCode
from leviathan.manifests import download_job as job
from leviathan.manifests.policy import MANAGED
from leviathan.model import download
from leviathan.model.downloaded import ModelError
from leviathan.model.manifest import read_manifest
from leviathan.model.model_phase import run
from leviathan.placement import load_model
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

DIGEST = f"sha256:{'1' * 64}"
TOOLS = Path(job.__file__).parents[2]
NOT_FOUND = Answer(404, {"kind": "Status", "code": 404, "message": "not found"})
SPACE = "/api/v1/namespaces/ai-workloads"


def site(*settings: str) -> Site:
    base = [f"image.digest={DIGEST}", "model.pod=", f"model.repository={REPOSITORY}", "model.include=Q4/*.gguf"]
    return load(settings=[*base, "storage.kind=pvc", *settings]).site


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    content = (write_tiny(tmp_path / "source") / "tiny.gguf").read_bytes()
    double = HubDouble({"Q4/tiny.gguf": content, "README.md": b"x"})
    yield double
    double.close()


@pytest.mark.parametrize(
    ("settings", "privileged"),
    [
        (("storage.kind=pvc",), False),
        (("storage.kind=existing_claim", "storage.claim=mine"), False),
        (("storage.kind=host_path", "storage.path=/srv/models"), False),
        (("storage.kind=partition", "model.token_secret=hub", "image.pull_secret=login"), True),
    ],
)
def test_the_job_is_valid_and_has_no_more_rights_than_it_needs(settings: tuple[str, ...], privileged: bool) -> None:
    made = job.job(site(*settings), "registry/x@" + DIGEST)
    kubernetes_validate.validate(made, "1.34", strict=True)
    pod = made["spec"]["template"]["spec"]
    security = pod["containers"][0]["securityContext"]
    assert bool(security.get("privileged")) is privileged
    if privileged:
        assert "--device=/dev/nvme0n1p1" in pod["containers"][0]["args"]
        assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "hub"}}]
        assert pod["imagePullSecrets"] == [{"name": "login"}]
    else:
        assert pod["securityContext"]["runAsNonRoot"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "hostPath" not in json.dumps(pod["volumes"])
    assert pod["automountServiceAccountToken"] is False
    assert made["metadata"]["labels"][MANAGED[0]] == MANAGED[1]


def downloaded(wanted: Site, hub: HubDouble, folder: Path) -> list[str]:
    """The lines of the Job's container, which runs here with its own arguments, but for the folder."""
    arguments = [text.replace(wanted.engine.model_path, str(folder)) for text in job.arguments(wanted)]
    arguments = [text.replace(wanted.model.hub, hub.address) for text in arguments]
    done = subprocess.run(
        [sys.executable, "-m", job.DOWNLOADER, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "LEVIATHAN_TERMINATION_LOG": str(folder) + ".end"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def pod_object(phase: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "d-1", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "download"}], "restartPolicy": "OnFailure"},
        "status": {
            "phase": phase,
            "containerStatuses": [
                {"name": "download", "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
            ],
        },
    }


def answer(api: ReplayApi, wanted: Site, log: list[str], *, job_answers: tuple[Answer, ...] = (NOT_FOUND,)) -> None:
    for path in (SPACE, f"{SPACE}/persistentvolumeclaims/leviathan-models"):
        api.add("GET", path, NOT_FOUND)
        api.add("PATCH", path, Answer(201, {"kind": "Thing", "apiVersion": "v1"}))
    api.add("GET", download.job_path(wanted), *job_answers)
    api.add("POST", download.job_path(wanted).rpartition("/")[0], Answer(201, {"kind": "Job"}))
    api.add(
        "GET",
        f"{SPACE}/pods",
        Answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod_object("Succeeded")]}),
    )
    api.add("GET", f"{SPACE}/pods/d-1", Answer(200, pod_object("Succeeded")))
    stamped = tuple(f"2026-01-01T00:00:{number % 60:02}.{number:09}Z {line}" for number, line in enumerate(log))
    api.add("GET", f"{SPACE}/pods/d-1/log", Answer(200, lines=stamped), timestamps="True")
    api.add("GET", f"{SPACE}/pods/d-1/log", Answer(200, lines=tuple(log)))


def test_the_whole_way(hub: HubDouble, api: ReplayApi, cluster: Cluster, tmp_path: Path) -> None:
    """Job, download, log, manifest: and with the manifest the plan and the comparison of the files."""
    manifest = tmp_path / "model.json"
    wanted = site(f"model.manifest={manifest}")
    folder = tmp_path / "model"
    answer(api, wanted, downloaded(wanted, hub, folder))
    done = run(wanted, lambda: cluster, Console(), environ={}, pause=lambda _s: None)
    assert done.verified is not None
    assert (done.verified.files, done.verified.hashed) == (1, 1)
    assert [each.name for each in read_manifest(manifest).files] == ["tiny.gguf"]
    assert load_model(manifest).tensors
    compared = run(wanted, lambda: cluster, Console(), folder=folder, hashed=True)
    assert compared.verified is not None
    assert compared.verified.hashed == 1
    posted = [each for each in api.asked if each.method == "POST"]
    assert [each.body["kind"] for each in posted] == ["Job"]
    applied = [each.body["kind"] for each in api.asked if each.method == "PATCH"]
    assert applied == ["Namespace", "PersistentVolumeClaim"]


def test_a_job_with_the_same_work_is_followed(hub: HubDouble, api: ReplayApi, cluster: Cluster, tmp_path: Path) -> None:
    wanted = site()
    live = job.job(wanted, f"192.168.3.10:5000/omni/engine@{DIGEST}") | {"status": {"active": 1}}
    answer(api, wanted, downloaded(wanted, hub, tmp_path / "model"), job_answers=(Answer(200, live),))
    assert run(wanted, lambda: cluster, Console(), environ={}, pause=lambda _s: None).verified is not None
    assert not [each for each in api.asked if each.method in ("POST", "DELETE")]


@pytest.mark.parametrize("other", ["failed", "arguments"])
def test_a_job_that_failed_or_has_other_work_is_made_again(
    other: str, hub: HubDouble, api: ReplayApi, cluster: Cluster, tmp_path: Path
) -> None:
    wanted = site()
    old = site("model.include=Q8/*") if other == "arguments" else wanted
    failed = {"conditions": [{"type": "Failed", "status": "True"}]} if other == "failed" else {}
    live = Answer(200, job.job(old, f"192.168.3.10:5000/omni/engine@{DIGEST}") | {"status": failed})
    answer(api, wanted, downloaded(wanted, hub, tmp_path / "model"), job_answers=(live, live, NOT_FOUND))
    api.add("DELETE", download.job_path(wanted), Answer(200, {"kind": "Status"}))
    run(wanted, lambda: cluster, Console(), environ={}, pause=lambda _s: None)
    assert [each.method for each in api.asked if each.path.endswith("-download") or each.method == "POST"] == [
        *("GET", "DELETE", "GET", "GET", "POST"),
    ]


def test_without_a_source_the_keys_are_named(cluster: Cluster) -> None:
    with pytest.raises(ModelError, match=r"no source is set for the download.*model\.repository=OWNER/NAME") as caught:
        run(site("model.repository=", "model.include="), lambda: cluster, Console(), force_download=True)
    assert caught.value.exit_code is ExitCode.MODEL


def test_a_log_that_was_cut_off_gives_no_manifest() -> None:
    whole = ["file: " + "a" * 64 + " 5 x.gguf", "header: eJyrVkpUsqoFAAgnAg0=", "DOWNLOAD COMPLETE"]
    for log in (whole[:1], whole[1:], [whole[0], "header: eJyrVkpU", whole[2]], []):
        with pytest.raises(ModelError, match="the download's log has no manifest"):
            download.manifest_of(log)


def test_the_runbooks_pod_is_still_waited_for() -> None:
    assert not load().site.downloads
    assert not load(settings=["model.repository=a/b"]).site.downloads  # model.pod is the runbook's
    assert site().downloads
