"""Two releases whose objects would have one name: refused before anything is changed, with the key that mends it."""

import copy
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi
from push_support import Talk

from leviathan.cluster.client import ClusterError, connect
from leviathan.cluster.dry_run import look
from leviathan.cluster.kinds import path_of
from leviathan.cluster.rival import rival
from leviathan.manifests.rendering import render
from leviathan.preflight.check_result import Level
from leviathan.preflight.facts import Facts
from leviathan.preflight.namespace import names
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

DIGEST = f"sha256:{'1' * 64}"
RUNBOOK = "/apis/apps/v1/namespaces/ai-workloads/deployments/cortex-leviathan"


def site(*settings: str) -> Site:
    return load(settings=[f"image.digest={DIGEST}", "workload.variant=unprivileged", *settings]).site


def objects(*settings: str) -> dict[str, Any]:
    return {each["kind"]: each for each in render(site(*settings), {}).objects}


#: The release that `init` writes, with a folder of the node: its volume is called as the runbook's.
NAMED = ("workload.deployment=leviathan", "workload.app=leviathan", "workload.service=leviathan")
INITS = (*NAMED, "cluster.namespace=leviathan", "storage.kind=host_path", "storage.path=/srv/models")
NONE = {"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": {}, "items": []}


def nothing(_path: str) -> None:
    return None


def test_a_volume_of_another_namespaces_claim_is_not_taken() -> None:
    what, fix = rival(objects(*INITS)["PersistentVolume"], objects()["PersistentVolume"], nothing)
    assert what == "PersistentVolume/leviathan-models exists already, for the claim ai-workloads/leviathan-models"
    assert fix == "give this release's object another name: --set storage.volume=NAME"


@pytest.mark.parametrize("kind", ["PersistentVolume", "PersistentVolumeClaim"])
def test_in_one_namespace_the_runbooks_is_told_by_its_deployment(kind: str) -> None:
    wanted, live, runbook = objects(*NAMED)[kind], objects()[kind], objects()["Deployment"]
    what, _ = rival(wanted, live, {RUNBOOK: runbook}.get)
    assert what == f"{kind}/leviathan-models belongs to the release cortex-leviathan"
    # Without it the volume is this release's own, of a tool that gave no label yet.
    assert rival(wanted, live, nothing) == ("", "")


@pytest.mark.parametrize("kind", ["PersistentVolume", "PersistentVolumeClaim", "Deployment", "Service"])
def test_an_object_with_another_releases_label_is_not_taken(kind: str) -> None:
    theirs = copy.deepcopy(objects()[kind])
    theirs["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"
    assert "belongs to the release other" in rival(objects()[kind], theirs, nothing)[0]
    assert rival(theirs, theirs, nothing) == ("", "")
    assert rival(objects()[kind], objects()[kind], nothing) == ("", "")


def test_a_namespace_is_shared_and_what_is_not_ours_is_anothers_business() -> None:
    space, theirs = objects()["Namespace"], copy.deepcopy(objects()["Service"])
    assert rival(objects(*NAMED)["Namespace"], space, nothing) == ("", "")
    theirs["metadata"]["labels"] = {"app.kubernetes.io/instance": "helms"}
    assert rival(objects()["Service"], theirs, nothing) == ("", "")


def test_apply_and_preflight_refuse_before_anything_is_changed(api: ReplayApi, tmp_path: Path) -> None:
    new, volume = site(*INITS), objects()["PersistentVolume"]
    cluster = connect(new, {"KUBECONFIG": str(api.kubeconfig(tmp_path))})
    api.add("GET", "/version", Answer(200, {"gitVersion": "v1.34.0", "major": "1", "minor": "34"}))
    for each in render(new, {}).objects:
        there = each["kind"] == "PersistentVolume"
        api.add("GET", path_of(each), Answer(200, volume) if there else Answer(404, {}))
        api.add("PATCH", path_of(each), Answer(200, each), dryRun="All")
    with pytest.raises(ClusterError, match=r"for the claim ai-workloads/leviathan-models.*--set storage\.volume=NAME"):
        look(cluster, render(new, {}).objects)
    assert not api.unexpected  # every PATCH was a dry run
    api.add("GET", "/apis/apps/v1/namespaces/leviathan/deployments", Answer(200, NONE))
    asked = names(Facts(new, {}, Console(Talk()), connect=lambda: cluster))
    [bad] = [each for each in asked if each.level is Level.PROBLEM]
    assert bad.text == "PersistentVolume/leviathan-models exists already, for the claim ai-workloads/leviathan-models"
    assert bad.fix.endswith("--set storage.volume=NAME")
