"""One user's way on a k3s-like node, from nothing to an endpoint with a key behind an Ingress, counted in commands."""

import base64
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from e2e.control_plane import objects
from e2e.node.support import LOGIN, real_registry
from hub_double import REPOSITORY

from . import inventory
from .happy_path import need
from .stage import Outcome, Stage

K3S = "leviathan"
SPACE = f"/api/v1/namespaces/{K3S}"
VOLUME = "/api/v1/persistentvolumes/pvc-of-local-path"
CLASS = "/apis/storage.k8s.io/v1/storageclasses/local-path"


def k3s(stage: Stage, seen: dict[str, Any]) -> None:
    """One user's way, with the commands counted up to a preflight without problems. Errors: WayError."""
    home = stage.folder / "k3s"
    home.mkdir()
    with ExitStack() as stack:
        registry = stack.enter_context(
            real_registry(stage.folder / "registry-login", storage=stage.registry.storage, login=True)
        )
        log_in(home, registry.host)
        volume(stage, stack)
        site = [
            "registry.plain_http=true",
            "image.repository=omni/engine",
            f"image.layout={stage.layout}",
            f"model.repository={REPOSITORY}",
            "model.include=Q2/*.gguf",
            "model.size_gb=1",
            f"model.hub={stage.hub.address}",
            "cluster.node=",
            "engine.cpu_threads=2",
            "access.ingress_host=deepseek.example.org",
            "access.network_policy=true",
            "access.allow_from=namespace:kube-system",
            "service.type=ClusterIP",
            "smoke.max_tokens=8",
            "smoke.min_tokens_per_s=0.05",
            "smoke.max_ttft_s=240",
        ]
        typed = ["export KUBECONFIG=…", f"docker login {registry.host}"]  # what these leave is there already
        for words in (
            ("init", *(word for text in site for word in ("--set", text))),
            ("preflight", "--site", "site.toml"),
        ):
            outcome = must(stage, home, *words)
            typed.append(f"leviathan {words[0]}")
        seen["preflight"] = outcome.out.splitlines()[-1:]
        seen["commands to a preflight without problems"] = typed
        need(len(typed) <= 5, "more than five commands")
        seen["deploy"] = deployed(stage, home)
        seen["objects"] = look(stage)
        seen["bench through the API server"] = benched(stage, home)
        must(stage, home, "delete")
        seen["left"] = sorted(inventory.ours(stage.plane.api))


def deployed(stage: Stage, home: Path) -> list[str]:
    """`leviathan deploy`; what it told of each phase. Errors: WayError when a phase is missing."""
    outcome = must(stage, home, "deploy", "--json")
    told = [
        f"{one['phase']}: {one['state']} in {one['seconds']:.1f} s: {one['summary']}" for one in outcome.data["phases"]
    ]
    need(len(told) == 6, f"{len(told)} phases")
    need("created Secret/leviathan-api-key" in outcome.talk, "no API key was made")
    need(f"created Job/{K3S}-download" in outcome.talk, "no Job downloads")
    manifest = json.loads((home / "model.json").read_text(encoding="utf-8"))
    need([each["name"] for each in manifest["files"]] == ["tiny.gguf"], f"another manifest: {manifest['files']}")
    return told


def benched(stage: Stage, home: Path) -> list[str]:
    """The smallest measurement, and another against it. Errors: WayError when a request failed, nothing is compared."""
    words = ("bench", "--prompt", "32", "--answer", "8", "--clients", "1,2", "--repeat", "1")
    told = must(stage, home, *words, "--svg", "bench.svg", "--result-file", "bench.json").out.splitlines()
    cells = json.loads((home / "bench.json").read_text(encoding="utf-8"))["cells"]
    need(
        [(each["clients"], each["requests"], each["failures"]) for each in cells] == [(1, 1, []), (2, 2, [])],
        f"{cells}",
    )
    need((home / "bench.svg").read_text(encoding="utf-8").startswith("<svg"), "no picture")
    need("%)" in must(stage, home, *words, "--compare", "bench.json").out, "nothing is compared")
    return told


def look(stage: Stage) -> dict[str, str]:
    """The objects of the k3s user, as the API has them. Errors: WayError when one is not as asked for."""
    api = stage.plane.api
    claim = api.send("GET", f"{SPACE}/persistentvolumeclaims/{K3S}-models")
    need(claim["status"]["phase"] == "Bound", "the claim is not bound")
    ingress = api.send("GET", f"/apis/networking.k8s.io/v1/namespaces/{K3S}/ingresses/{K3S}")
    need(ingress["spec"]["rules"][0]["host"] == "deepseek.example.org", "the Ingress is for another host")
    service = api.send("GET", f"{SPACE}/services/{K3S}")
    need(service["spec"]["type"] == "ClusterIP", "the Service is not of the cluster alone")
    key = base64.b64decode(api.send("GET", f"{SPACE}/secrets/{K3S}-api-key")["data"]["api-key"]).decode()
    need(key.startswith("sk-"), "the Secret has no key")
    (pod,) = api.send("GET", f"{SPACE}/pods?labelSelector=app%3D{K3S}")["items"]
    need("nodeSelector" not in pod["spec"], "the pod is bound to a node by name")
    need(pod["spec"]["imagePullSecrets"] == [{"name": "registry-login"}], "the pod has no pull secret")
    need(not pod["spec"]["containers"][0]["securityContext"].get("privileged"), "the pod is privileged")
    job = api.send("GET", f"/apis/batch/v1/namespaces/{K3S}/jobs/{K3S}-download")
    need(job["status"].get("succeeded") == 1, f"the Job has not succeeded: {job['status']}")
    return {
        "claim": claim["spec"]["volumeName"],
        "pod": pod["metadata"]["name"],
        "image": pod["spec"]["containers"][0]["image"],
    }


def volume(stage: Stage, stack: ExitStack) -> None:
    """What k3s has from the start, a class `local-path`, and the volume that its provisioner would make."""
    folder = stage.folder / "local-path"
    folder.mkdir()
    folder.chmod(0o777)  # as the provisioner's does
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local-path"}}
    kind["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}  # type: ignore[index]
    stage.plane.api.apply(
        CLASS, kind | {"provisioner": "rancher.io/local-path", "volumeBindingMode": "WaitForFirstConsumer"}
    )
    stack.callback(stage.plane.api.call, "DELETE", CLASS)
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [objects.NODE]}
    spec = {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "local-path",
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}},
    }
    name = VOLUME.rpartition("/")[2]
    stage.plane.api.apply(
        VOLUME, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    )
    stack.callback(stage.plane.api.call, "DELETE", VOLUME)


def must(stage: Stage, home: Path, *words: str) -> Outcome:
    """`Stage.must` for the user with this home folder."""
    outcome = stage.tool(*words, home=home)
    need(outcome.status == 0, f"leviathan {' '.join(words[:2])} exited with {outcome.status}: {outcome.talk[-1500:]}")
    return outcome


def log_in(home: Path, host: str) -> None:
    """The file that `docker login` leaves. A registry of this name needs not be there."""
    folder = home / ".docker"
    folder.mkdir(exist_ok=True)
    entry = {"auth": base64.b64encode(":".join(LOGIN).encode()).decode()}
    (folder / "config.json").write_text(json.dumps({"auths": {host: entry}}), encoding="utf-8")
