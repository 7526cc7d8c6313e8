"""preflight against recorded answers: volumes and claims that are there and differ from the site."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer
from preflight_site import scene_site
from preflight_support import facts_of, replayed

from leviathan.cluster.kinds import path_of
from leviathan.manifests.rendering import render
from leviathan.preflight.check_result import Level
from leviathan.preflight.preflight_phase import CHECKS, ask


@pytest.mark.parametrize(
    ("key", "value", "kind", "words"),
    [
        (
            "storage.partition",
            "/dev/nvme1n1p1",
            "PersistentVolume",
            "cannot be changed from /dev/nvme0n1p1 to /dev/nvme1",
        ),
        ("storage.filesystem", "ext4", "PersistentVolume", "cannot be changed from xfs to ext4"),
        ("storage.size_gb", "2000", "PersistentVolumeClaim", "cannot be changed from 3000 to 2000"),
        ("cluster.node", "talos-2", "PersistentVolume", "cannot be changed from talos-u8k-rze to talos-2"),
    ],
)
def test_a_volume_that_cannot_become_what_the_site_says(
    key: str, value: str, kind: str, words: str, tmp_path: Path
) -> None:
    """Found before anything is changed, with the way that does not hang; an equal volume is ours and no problem."""
    there = {"nvme__size_gb": "3000"}
    before, after = (scene_site("unprivileged", **there | more) for more in ({}, {key.replace(".", "__"): value}))
    with replayed("fine") as server:
        server.exchanges = [each for each in server.exchanges if each.path == "/version"]
        for each in render(before, {}).objects:
            server.add("GET", path_of(each), Answer(200, as_stored(each)))
        same, changed = (ask(CHECKS["names"], facts_of(site, server, tmp_path)) for site in (before, after))
    assert [each.level for each in same] == [Level.OK]
    bad = [each for each in changed if each.level is Level.PROBLEM]
    assert [each.text.startswith(f"{kind}/leviathan-models: {key} {words}") for each in bad] == [True]
    assert bad[0].fix.startswith("leviathan delete, then leviathan apply (")


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (None, "engine.kept_claim: the PersistentVolumeClaim talks does not exist in lab-fine"),
        (("Lost", "ReadWriteOnce", "100Gi"), "engine.kept_claim: talks has lost its volume"),
        (("Bound", "ReadOnlyMany", "100Gi"), "engine.kept_claim: talks is read-only, but must be writable"),
        (("Bound", "ReadWriteOnce", "20G"), "engine.kept_gb = 50 is more than the 20 GB of talks"),
        (("Pending", "ReadWriteOnce", "50G"), ""),
    ],
)
def test_the_claim_for_conversations(claim: tuple[str, str, str] | None, words: str, tmp_path: Path) -> None:
    """What would keep the pod from starting, or the engine from writing; without keys a warning in any case."""
    site = scene_site("fine", engine__kept="claim", engine__kept_claim="talks")
    path = "/api/v1/namespaces/lab-fine/persistentvolumeclaims/talks"
    with replayed("fine") as server:
        if claim is None:
            server.add("GET", path, Answer(404, {"kind": "Status", "code": 404, "reason": "NotFound"}))
        else:
            phase, mode, size = claim
            spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
            server.add("GET", path, Answer(200, {"spec": spec, "status": {"phase": phase}}))
        found = ask(CHECKS["names"], facts_of(site, server, tmp_path))
    bad = [each for each in found if each.level is Level.PROBLEM]
    assert [each.text for each in bad] == ([words] if words else [])
    assert all(each.fix for each in bad)
    shared = [each.text for each in found if each.level is Level.WARNING]
    if claim is not None:
        assert shared == ["all clients share the conversations stored in talks, because no API key is required"]


def as_stored(each: Any) -> Any:
    """An object as the API server keeps it: quantities in their shortest form."""
    return json.loads(json.dumps(each).replace('"3000G"', '"3T"'))
