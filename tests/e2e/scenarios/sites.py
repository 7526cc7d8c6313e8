"""Other sites on the same cluster: supported, upgraded, from nothing as on k3s, and the examples."""

import json
import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from e2e.control_plane.api import APPLY, Json, wait
from leviathan.cluster.kinds import path_of
from leviathan.manifests.patch import merged

from . import inventory
from .happy_path import DEPLOYMENT, lives, need, our_pods
from .k3s import k3s, log_in, must
from .report import Report
from .stage import ROOT, Stage

EARLIER = ROOT / "tests" / "leviathan" / "earlier"
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
DIGEST = f"sha256:{'1' * 64}"
#: Kinds of the Prometheus operator, which an example asks for: definitions as loose as the API server takes them.
MONITORING = {"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}


def measure(stage: Stage, report: Report) -> None:
    """What is collected of the deployment that stands."""
    report.attempt("site: support writes one archive without secrets", partial(support, stage))


def other_sites(stage: Stage, report: Report) -> None:
    """The cluster has nothing of ours, before and after each of these."""
    report.attempt("site: a running engine of release 0.1 is taken over, not restarted", partial(upgrade, stage))
    report.attempt("site: the examples are applied and deleted", partial(examples, stage))
    name = "site: k3s from nothing: init, preflight, download, deploy, behind an Ingress with a key"
    if stage.mode.outward:
        report.attempt(name, partial(k3s, stage))
    else:
        report.facts["not run on this node"] = f"{name}: its pods do not reach the hub on this machine's loopback"


def support(stage: Stage, seen: dict[str, Any]) -> None:
    """The archive, with every file in it, and nothing of the kubeconfig's key. Errors: WayError."""
    out = stage.folder / "support.tar.gz"
    seen["says"] = stage.must("support", "--out", str(out)).out.splitlines()
    with tarfile.open(out) as archive:
        files = {one.name.rpartition("/")[2]: archive.extractfile(one) for one in archive if one.isfile()}
        text = {name: file.read().decode() for name, file in files.items() if file is not None}
    seen["bytes"] = {name: len(content) for name, content in text.items()}
    need("ready" in text["status.json"], "the status is not that of the engine")
    need(len(text["engine.log"].splitlines()) > 5, "the engine's log is missing")
    need(json.loads(text["objects.json"]), "no objects")
    need("PRIVATE KEY" not in "".join(text.values()), "a key is in the archive")


def upgrade(stage: Stage, seen: dict[str, Any]) -> None:
    """What release 0.1 had rendered runs; the deployment of today leaves its pod alone. Errors: WayError.

    A kubelet announces what the machine has, so there the earlier pod requests as little as the stage's site.
    """
    image = f"{stage.registry.host}/omni/engine@{digest_of(stage.layout)}"
    text = (EARLIER / "render-privileged.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("192.168.3.10:5000/omni/engine@" + DIGEST, image),
        ("/dev/nvme0n1p1", str(stage.disk.name)),
        ("--cpu_offload_max_threads=96", "--cpu_offload_max_threads=2"),
    ):
        need(old in text, f"the earlier manifests have no {old}")
        text = text.replace(old, new)
    api = stage.plane.api
    for each in yaml.safe_load_all(text):
        if each["kind"] == "Deployment" and (fewer := stage.mode.site.get("resources")):
            each = smaller(each, fewer)  # noqa: PLW2901
        api.send("PATCH", f"{path_of(each)}?fieldManager=leviathan&force=true", each, APPLY)
    wait("the earlier release's pod ready", lambda: ready(stage), 240)
    before, generation = lives(stage), generation_of(stage)
    done = stage.must("deploy", "--json", "--skip", "push")
    seen["notes"] = [line for line in done.talk.splitlines() if "storage.partition" in line]
    need(seen["notes"], "the old key's new name is not told")
    seen["pods"], seen["generation"] = [before, lives(stage)], [generation, generation_of(stage)]
    need(lives(stage) == before, "the engine was restarted")
    stage.must("delete")
    left = [name for name in inventory.ours(api) if "/namespaces " not in name]
    need(not left, f"left: {left}")


def smaller(deployment: Json, resources: Mapping[str, str]) -> Json:
    """The Deployment with the CPUs, memory and /dev/shm of a site's section `resources`."""
    both = {
        f"{kind}s": {"cpu": resources[f"cpu_{kind}"], "memory": resources[f"memory_{kind}"]}
        for kind in ("limit", "request")
    }
    pod = {
        "containers": [{"name": "engine", "resources": both}],
        "volumes": [{"name": "shm", "emptyDir": {"sizeLimit": resources["shm"]}}],
    }
    return merged(deployment, {"spec": {"template": {"spec": pod}}}, "e2e")


def examples(stage: Stage, seen: dict[str, Any]) -> None:
    """Each example as it is, but for the image's place: rendered, held to the policy, applied. Errors: WayError."""
    places = {
        "registry.host": stage.registry.host,
        "registry.plain_http": "true",
        "image.repository": "omni/engine",
        "image.digest": digest_of(stage.layout),  # apply asks the registry for it
        "cluster.context": "leviathan-e2e",
    }
    settings = [word for key, value in places.items() for word in ("--set", f"{key}={value}")]
    with ExitStack() as stack:
        for kind, plural in MONITORING.items():
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.monitoring.coreos.com"
            stage.plane.api.apply(path, definition(kind, plural))
            stack.callback(stage.plane.api.send, "DELETE", path)
            listed = f"/apis/monitoring.coreos.com/v1/{plural}"
            wait(f"{plural} served", lambda listed=listed: stage.plane.api.call("GET", listed).status == 200, 30)  # type: ignore[misc]
        for example in EXAMPLES:
            home = stage.folder / example.stem
            home.mkdir()
            (home / "site.toml").write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
            log_in(home, stage.registry.host)
            told = must(stage, home, "apply", *settings)
            applied = sorted(inventory.ours(stage.plane.api))
            if example.stem == "runbook":
                seen["a patch, by the API server and by the tool"] = patched_alike(stage)
            seen[example.stem] = {"says": told.out.splitlines()[-1:], "objects": len(applied)}
            for kind in ("deployments", "services"):
                need(any(f"/{kind} " in name for name in applied), f"{example.stem}: no {kind} in {applied}")
            must(stage, home, "delete", *settings)
            left = [
                name
                for name in inventory.ours(stage.plane.api)
                if not any(kind in name for kind in ("/secrets ", "/namespaces "))
            ]
            need(not left, f"{example.stem}: left: {left}")
            for name in [name for name in inventory.ours(stage.plane.api) if "/secrets " in name]:
                space, _, secret = name.split(" ")[1].partition("/")
                stage.plane.api.send("DELETE", f"/api/v1/namespaces/{space}/secrets/{secret}")


PATCH = {
    "priorityClassName": "system-node-critical",
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "shm", "$patch": "delete"}],
    "containers": [
        {
            "name": "engine",
            "env": [{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "CUDA_DEVICE_ORDER", "$patch": "delete"}],
            "volumeMounts": [{"mountPath": "/dev/shm", "$patch": "delete"}, {"mountPath": "/cache", "name": "cache"}],
            "readinessProbe": {"timeoutSeconds": 7, "failureThreshold": None},
        }
    ],
}


def patched_alike(stage: Stage) -> list[str]:
    """The tool's merge of a patch is the API server's own (a dry run), but for the order of lists. Errors: WayError."""
    api = stage.plane.api
    live = api.send("GET", DEPLOYMENT)
    patch = {"metadata": {"name": live["metadata"]["name"]}, "spec": {"template": {"spec": PATCH}}}
    of_server = api.send("PATCH", f"{DEPLOYMENT}?dryRun=All", patch, "application/strategic-merge-patch+json")
    ours = merged(live | {"kind": "Deployment"}, patch, "e2e")["spec"]["template"]["spec"]
    theirs = of_server["spec"]["template"]["spec"]
    theirs["containers"][0]["readinessProbe"].pop("failureThreshold")  # the API server's default
    differences = [key for key in {**ours, **theirs} if in_order(ours.get(key)) != in_order(theirs.get(key))]
    need(not differences, f"merged otherwise: {[(key, ours.get(key), theirs.get(key)) for key in differences]}")
    return sorted(PATCH)


def in_order(value: Any) -> Any:
    """The value with its lists sorted: entries that go by a name have no order."""
    if isinstance(value, dict):
        return {key: in_order(each) for key, each in value.items()}
    return sorted(map(in_order, value), key=repr) if isinstance(value, list) else value


def digest_of(layout: Path) -> str:
    """The digest of a layout's one image."""
    [entry] = json.loads((layout / "index.json").read_bytes())["manifests"]
    return str(entry["digest"])


def ready(stage: Stage) -> bool:
    """Whether there is one pod of the runbook's Deployment, and it is ready."""
    conditions = [each for pod in our_pods(stage) for each in pod["status"].get("conditions", ())]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def generation_of(stage: Stage) -> int:
    """Of the runbook's Deployment: it counts changes of what is wanted."""
    return int(stage.plane.api.send("GET", DEPLOYMENT)["metadata"]["generation"])


def definition(kind: str, plural: str) -> dict[str, Any]:
    """A CustomResourceDefinition that takes anything."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": names,
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
