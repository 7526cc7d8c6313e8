"""What happens to a deployment that stands: a new launcher, a rollback, the end."""

import threading
import time
from pathlib import Path

from leviathan.errors import ExitCode

from .faults import ended
from .happy import DEPLOYMENT, PODS, need, phases, running_image
from .image import derive
from .report import Report
from .stage import GATE, Stage

SMALL = 1 << 20  # bytes: a launcher's layer, its configuration and its manifest are well below


def change(stage: Stage, report: Report) -> None:
    """A new launcher while the API server is killed, back to the first image, and delete.

    Errors: WayError and others, noted in the report.
    """
    first = running_image(stage)
    layout: Path = stage.folder / "layout-2"
    second = derive(stage.built, layout, stamp="2")
    with report.check(
        "10 a new launcher: only its layer is pushed, the pod is replaced; API server killed meanwhile"
    ) as seen:
        away: list[float] = []
        killer = threading.Thread(target=lambda: away.append(kill_during_rollout(stage, second)))
        killer.start()
        try:
            data = stage.must("deploy", "--json", "--set", f"image.layout={layout}").data
        finally:
            killer.join(timeout=300)
        seen.update(phases(data))
        pushed = next(one for one in data["phases"] if one["phase"] == "push")["result"]
        seen["bytes sent"], seen["bytes of the image"] = pushed["bytes_sent"], pushed["bytes"]
        seen["seconds without an API server"] = round(away[0], 1)
        need(pushed["bytes_sent"] < SMALL, "more than the launcher was pushed")
        need(running_image(stage) == second, "the pod has another image")
    with report.check("11 a smoke test that fails brings back the image that passed last") as seen:
        third = stage.folder / "layout-3"
        unwanted = derive(stage.built, third, stamp="3")
        unreachable = ("--set", f"image.layout={third}", "--set", "smoke.min_tokens_per_s=100000")
        outcome = stage.tool("deploy", "--rollback-on-failure", *unreachable)
        ended(outcome, ExitCode.SMOKE, seen)
        need("tokens/s" in outcome.talk, "nothing about the floor")
        need(unwanted != second and running_image(stage) == second, "the pod has another image")
        seen["image"] = second
    with report.check("12 rollback to the first image") as seen:
        seen["answer"] = stage.must("rollback", "--to", first).out
        stage.must("rollout")
        stage.must("smoke")
        need(running_image(stage) == first, "the pod has another image")
        seen["image"] = first
    with report.check("13 delete leaves what is not ours, nothing that is") as seen:
        seen["answer"] = stage.must("delete").out
        need(stage.plane.api.get(DEPLOYMENT) is None, "the Deployment is still there")
        left = [item["metadata"]["name"] for item in stage.plane.api.send("GET", PODS)["items"]]
        seen["pods left"] = left
        need(left == [GATE], "other pods are left than the one that was there before")


def kill_during_rollout(stage: Stage, digest: str) -> float:
    """Wait until the Deployment wants `digest`, then kill the API server; the seconds that there was none."""
    for _ in range(3000):
        found = stage.plane.api.call("GET", DEPLOYMENT)
        if found.status == 200 and digest.encode() in found.body:
            return stage.plane.restart_api_server(kill=True, away=2.0)
        time.sleep(0.1)
    return -1.0
