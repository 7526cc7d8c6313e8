"""The runbook's table of steps and its definition of done, as named checks."""

import http.client
import json
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from e2e.control_plane import objects

from . import picture, rollout
from .engine_processes import LAUNCHER, engine_processes
from .errors import WayError
from .image import Layout
from .inventory import wanted
from .report import Report
from .stage import GATE, Stage

SPACE = f"namespaces/{objects.NAMESPACE}"
DEPLOYMENT = f"/apis/apps/v1/{SPACE}/deployments/cortex-leviathan"
PODS = f"/api/v1/{SPACE}/pods"
PORT = 30000


def need(true: object, what: str) -> None:
    """Errors: WayError with `what` unless `true`."""
    if not true:
        raise WayError(what)


def ask(path: str, body: dict[str, Any] | None = None, timeout: float = 300.0) -> tuple[int, str]:
    """What the endpoint on the NodePort answers: status and text."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.status, answer.read().decode()


def walk(stage: Stage, report: Report) -> None:
    """Deploy, and look at each step; what fails ends it. Errors: WayError and others, noted in the report."""
    built(stage, report)
    deployed(stage, report)
    answering(stage, report)


def built(stage: Stage, report: Report) -> None:
    """What is there before the deployment: image and manifest. Errors: as `walk`."""
    with report.check("1 image built, each blob as its digest says") as seen:
        seen["layout"] = str(stage.built.resolve())
        seen.update(verified(Layout(stage.built)))
    with report.check("2 manifest has the right node and partition") as seen:
        text = stage.must("render").out
        seen["node"] = objects.NODE
        seen["partition"] = str(stage.disk.name)
        need(f"kubernetes.io/hostname: {objects.NODE}" in text, "render does not name the node")
        need(f"value: {stage.disk.name}\n" in text, "render does not name the partition")
        need("talos-node-0" not in text, "render names the wrong node")


def deployed(stage: Stage, report: Report) -> None:
    """The deployment, and what it has left in registry and cluster. Errors: as `walk`."""
    with report.check("3 deploy: preflight, push, model, apply, rollout, smoke") as seen:
        with rollout.watched(progress) as answers:
            data = stage.must("deploy", "--json").data
        seen.update(phases(data))
    with (
        suppress(Exception),
        report.check("3 the rollout's timeline") as seen,
    ):  # noted; what comes after does not need it
        steps = rollout.steps(stage.plane.api, our_pods(stage)[0], answers, data["phases"])
        report.picture("rollout", f"one rollout, that of check 3, in UTC: {rollout.NOTE}", picture.timed(steps))
        seen.update((one.name.strip(), one.told()) for one in steps)
    with report.check("4 tags listed") as seen:
        with urllib.request.urlopen(f"http://{stage.registry.host}/v2/omni/engine/tags/list", timeout=30) as answer:
            seen["tags"] = json.load(answer)["tags"]
        need("leviathan-standard" in seen["tags"], "the tag is not in the registry")
    with report.check("5 download gate") as seen:
        answer = stage.plane.api.call("GET", f"{PODS}/{GATE}/log")
        seen["log"] = answer.body.decode()
        need("DOWNLOAD COMPLETE" in seen["log"], "the gate's log does not say so")
    with report.check("6 pod Running with 2 GPUs") as seen:
        items = our_pods(stage)
        need(len(items) == 1, f"{len(items)} pods")
        seen["phase"] = items[0]["status"]["phase"]
        seen["node"] = items[0]["spec"]["nodeName"]
        seen["gpus"] = items[0]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
        seen["image"] = items[0]["spec"]["containers"][0]["image"]
        need((seen["phase"], seen["node"], seen["gpus"]) == ("Running", objects.NODE, "2"), "not as it should be")
        if stage.mode.devices:
            seen["devices that the engine was given"] = given = devices(stage)
            need(len(given) == len(set(given)) == 2, f"the engine was given {len(given)} GPUs")


def answering(stage: Stage, report: Report) -> None:
    """What the endpoint answers, and that nothing is left to do. Errors: as `walk`."""
    with report.check("7 /health is 200 on port 30000") as seen:
        seen["status"], seen["body"] = ask("/health")
        need(seen["status"] == 200, "not healthy")
    with report.check("8 a completion") as seen:
        body = {"model": "deepseek-v3", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
        status, text = ask("/v1/chat/completions", body)
        seen["answer"] = json.loads(text)["choices"][0]["message"]["content"]
        seen["usage"] = json.loads(text)["usage"]
        need(status == 200 and seen["usage"]["completion_tokens"] > 0, "no tokens")
    with report.check("9 a second deploy changes nothing") as seen:
        before = wanted(stage.plane.api, version=True)
        data = stage.must("deploy", "--json").data
        seen.update(phases(data))
        after = wanted(stage.plane.api, version=True)
        seen["unchanged"] = sorted(before)
        need(after == before, f"something is another: {before} {after}")
        need(not data["changed"], "the deployment says that it has changed something")


def verified(layout: Layout) -> dict[str, Any]:
    """What was read of the image, manifest, configuration and layers. Errors: WayError unless each has its digest."""
    [entry] = json.loads((layout.folder / "index.json").read_bytes())["manifests"]
    layout.verify(entry)
    manifest = layout.load(entry["digest"])
    for one in (manifest["config"], *manifest["layers"]):
        layout.verify(one)
    ids = layout.load(manifest["config"]["digest"])["rootfs"]["diff_ids"]
    need(len(ids) == len(manifest["layers"]), f"{len(manifest['layers'])} layers, and {len(ids)} in the configuration")
    sizes = [one["size"] for one in manifest["layers"]]
    return {"manifest": entry["digest"], "layers": len(sizes), "bytes of the layers, hashed": sum(sizes)}


def devices(stage: Stage) -> list[str]:
    """The cards in the environment of the container's process, as the device plugin gave them. Errors: WayError."""
    found = engine_processes(stage.node.ancestor, (LAUNCHER,))
    need(len(found) == 1, f"{len(found)} processes of the launcher")
    lines = Path(f"/proc/{found[0]}/environ").read_bytes().decode().split("\0")
    named = [line.partition("=")[2] for line in lines if line.startswith("NVIDIA_VISIBLE_DEVICES=")]
    return named[0].split(",") if named and named[0] else []


def progress() -> rollout.Progress | None:
    """How far the engine says that it is, asked on the NodePort; None when it does not answer."""
    try:
        try:
            text = ask("/health", timeout=2)[1]
        except urllib.error.HTTPError as error:  # 503 while it loads
            text = error.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    return rollout.progress_of(text)


def phases(data: dict[str, Any]) -> dict[str, str]:
    """Phase → state, time and summary, of what `deploy --json` printed."""
    return {one["phase"]: f"{one['state']} in {one['seconds']:.1f} s: {one['summary']}" for one in data["phases"]}


def our_pods(stage: Stage) -> list[dict[str, Any]]:
    """The pods of the deployment, those that are ending too."""
    items: list[dict[str, Any]] = stage.plane.api.send("GET", f"{PODS}?labelSelector=app%3Dleviathan-671b")["items"]
    return items


def lives(stage: Stage) -> list[tuple[str, str, int]]:
    """Name, UID and restarts of each pod of the deployment."""
    return [
        (one["metadata"]["name"], one["metadata"]["uid"], sum(each["restartCount"] for each in statuses(one)))
        for one in our_pods(stage)
    ]


def statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """What a pod's containers say of themselves."""
    return list(pod["status"].get("containerStatuses", ()))


def running_image(stage: Stage) -> str:
    """The digest of the image that the one running pod has. Errors: WayError unless there is one."""
    items = our_pods(stage)
    need(len(items) == 1 and items[0]["status"]["phase"] == "Running", "there is not one running pod")
    return str(items[0]["spec"]["containers"][0]["image"]).rpartition("@")[2]
