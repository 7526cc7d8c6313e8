"""What happens to a deployment that stands: a new launcher, a rollback, the end."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from e2e.control_plane.api import wait
from leviathan.errors import ExitCode

from . import inventory
from .faults import ended
from .happy_path import DEPLOYMENT, PODS, need, phases, running_image
from .image import derive
from .report import Report
from .stage import GATE, Running, Stage

SMALL = 1 << 20  # bytes: a launcher's layer, its configuration and its manifest are well below
AWAY = 6.0  # seconds without an API server at the least: after 5 the tool says so
TOO_SLOW = ("error: smoke: smoke check rate failed (", "): expected at least 100000 tokens/s, got ")
SILENT = "; the API server has not answered for "


def change(stage: Stage, report: Report, before: dict[str, str]) -> None:
    """A new launcher while the API server is killed, back to the first image, and delete.

    Arguments: `before`, what was in the cluster before the first deployment. Errors: WayError and others, noted in the
    report.
    """
    first = running_image(stage)
    layout: Path = stage.folder / "layout-2"
    second = derive(stage.built, layout, stamp="2")
    with report.check(
        "10 a new launcher: only its layer is pushed, the pod is replaced; API server killed meanwhile"
    ) as seen:
        new_launcher(stage, layout, second, seen)
    with report.check("11 a smoke test that fails brings back the image that passed last") as seen:
        third = stage.folder / "layout-3"
        unwanted = derive(stage.built, third, stamp="3")
        unreachable = ("--set", f"image.layout={third}", "--set", "smoke.min_tokens_per_s=100000")
        outcome = stage.tool("deploy", "--rollback-on-failure", *unreachable)
        ended(outcome, ExitCode.SMOKE, (*TOO_SLOW, f"; rolled back to {stage.registry.host}/"), seen)
        need(unwanted != second and running_image(stage) == second, "the pod has another image")
        seen["image"] = second
    with report.check("12 rollback to the first image") as seen:
        seen["answer"] = stage.must("rollback", "--to", first).out
        stage.must("rollout")
        stage.must("smoke")
        need(running_image(stage) == first, "the pod has another image")
        seen["image"] = first
    with report.check("13 delete leaves what is not ours, nothing that is") as seen:
        delete(stage, before, seen)


def new_launcher(stage: Stage, layout: Path, digest: str, seen: dict[str, Any]) -> None:
    """Deploy the image of `layout`, and kill the API server once the tool watches the rollout. Errors: WayError."""
    seen["process of the API server"] = [stage.plane.api_server.pid]
    words = ("deploy", "--json", "--set", f"image.layout={layout}", "--set", "rollout.heartbeat_s=1")
    with ExitStack() as stack:
        running = stage.begin(*words)
        stack.callback(running.process.wait)
        stack.callback(running.process.kill)
        wait("the rollout under way", lambda: watching(running), 300, pause=0.02)
        need(running.process.poll() is None, "the deployment had ended before the API server could be killed")
        need(digest.encode() in stage.plane.api.call("GET", DEPLOYMENT).body, "the Deployment wants another image")
        seen["seconds without an API server"] = round(stage.plane.restart_api_server(kill=True, away=AWAY), 1)
        outcome = stage.end(running)
    seen["process of the API server"].append(stage.plane.api_server.pid)
    said = [line for line in outcome.talk.splitlines() if SILENT in line]
    seen["says"] = said[-1:]
    need(outcome.status == 0, f"exit status {outcome.status}: {outcome.talk[-500:]}")
    seen.update(phases(outcome.data))
    pushed = next(one for one in outcome.data["phases"] if one["phase"] == "push")["result"]
    seen["bytes sent"], seen["bytes of the image"] = pushed["bytes_sent"], pushed["bytes"]
    old, new = seen["process of the API server"]
    need(old != new, "the API server was not killed")
    need(said, f"the tool has not said{SILENT}…")
    need(pushed["bytes_sent"] < SMALL, "more than the launcher was pushed")
    need(running_image(stage) == digest, "the pod has another image")


def watching(running: Running) -> bool:
    """Whether the tool has told where the rollout is, so that the cluster has answered it, or has ended."""
    lines = running.talk.read_text(encoding="utf-8").splitlines()
    return any(line.startswith("rollout: ") for line in lines) or running.process.poll() is not None


def delete(stage: Stage, before: dict[str, str], seen: dict[str, Any]) -> None:
    """Nothing that carries our label is left; of all else, nothing is gone, new or recreated. Errors: WayError."""
    api = stage.plane.api
    had = inventory.ours(api)
    need(any(key.endswith("/cortex-leviathan") for key in had), "the Deployment does not carry our label")
    seen["answer"] = stage.must("delete").out
    at_once = [name for name in inventory.wanted(api, version=False) if not name.startswith("Namespace ")]
    after = inventory.settled(api)
    seen["had our label"], seen["have our label"] = sorted(had), sorted(inventory.ours(api))
    seen["objects before the first deployment"], seen["objects after"] = len(before), len(after)
    seen["differences"] = inventory.difference(before, after)
    left = [item["metadata"]["name"] for item in api.send("GET", PODS)["items"]]
    seen["pods left"] = left
    need(not at_once, f"left when the tool said that it is gone: {at_once}")
    need(not seen["have our label"], "something of ours is left")
    need(not seen["differences"], "something else is gone, new or recreated")
    need(left == [GATE], "other pods are left than the one that was there before")
