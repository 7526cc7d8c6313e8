"""Records what a real API server answers to apply, diff, delete and rollback, into `apply/NAME.json` next to this file.

The control plane's kubeconfigs admin, restricted and wrong are used; the namespaces lab-* in it are used up.
"""

import time
from dataclasses import replace
from pathlib import Path

from apply_scenes import SCENES, Play, play, shown
from record_api import recorded

from leviathan.cluster.client import Cluster, connect
from leviathan.site.load import load

#: A scene for a server that has forgotten its first version, as one does ten minutes after its start: only by its name.
AGED = "expired"


def clusters(folder: Path, user: str) -> Cluster:
    base = load(None, environ={}, settings=(), named={}).site
    site = replace(base, cluster=replace(base.cluster, context="leviathan-e2e"))
    return connect(site, {"KUBECONFIG": str(folder / f"{user}.kubeconfig")})


def settled(playing: Play) -> None:
    """Wait until the controllers have seen the Deployment, so that its ReplicaSets are there."""
    for _ in range(60):
        live = playing.cluster.get(playing.deployment)
        seen = (live or {}).get("status", {}).get("observedGeneration")
        if live is None or seen == live["metadata"]["generation"]:
            return
        time.sleep(0.5)


def clean(playing: Play) -> None:
    """Free the scene's port and volumes."""
    path = f"{playing.core}/services"
    for each in playing.cluster.list(path):
        one = f"{path}/{each['metadata']['name']}"
        body = {"metadata": {"finalizers": None}}
        playing.cluster.patch(one, body, content_type="application/merge-patch+json")
        playing.cluster.delete(one)
    for each in playing.cluster.list("/api/v1/persistentvolumes"):
        playing.cluster.delete(f"/api/v1/persistentvolumes/{each['metadata']['name']}")
    for each in playing.cluster.list(f"{playing.core}/configmaps"):
        one = f"{playing.core}/configmaps/{each['metadata']['name']}"
        body = {"metadata": {"finalizers": None}}
        playing.cluster.patch(one, body, content_type="application/merge-patch+json")
    if "deletionTimestamp" not in (playing.cluster.get(playing.core) or {}).get("metadata", {}):
        playing.cluster.delete(playing.core)
    for _ in range(60):  # a volume goes after its claim
        if not playing.cluster.list("/api/v1/persistentvolumes"):
            return
        time.sleep(0.5)


def main(plane: Path, wanted: list[str]) -> None:
    """Record the scenes `wanted`, or all, with the control plane in the folder `plane`."""
    for name in wanted or [name for name in SCENES if name != AGED]:
        scene = SCENES[name]
        admin = play(name, clusters(plane, "admin"))
        try:
            scene.prepare(admin)
            settled(admin)
            cluster, recording = recorded(clusters(plane, scene.user))
            text = shown(play(name, cluster), name)
            path = recording.save(f"apply/{name}")
        finally:
            clean(admin)
        print(f"== {name} ({path.stat().st_size} bytes)\n{text}")  # noqa: T201 - a program of the tests
