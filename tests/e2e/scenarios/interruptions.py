"""What stops in the middle of a deployment and comes back: registry, etcd, the tool itself. Nothing is lost by it."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from e2e.control_plane.api import wait
from leviathan.deploy.phases import NAMES
from leviathan.registry.layout import load_image

from .disconnects import clear
from .errors import WayError
from .happy_path import need, our_pods, phases, running_image
from .report import Report
from .stage import Running, Stage

AGAIN = "omni/again"  # a repository of its own: the registry has none of the image's blobs there
CHUNK_MIB = 8  # small, so that the chunks under way are few bytes compared with a tenth of the image
PARALLEL = 4


def interrupt(stage: Stage, report: Report) -> None:
    """Every interruption as a check."""
    report.fault("registry killed in the middle of a push and back", partial(registry_killed, stage))
    report.fault("etcd slow", partial(etcd_slow, stage))
    report.fault("tool killed in every phase and run again", partial(tool_killed, stage))


def registry_killed(stage: Stage, seen: dict[str, Any]) -> None:
    """SIGKILL when a tenth of the image has arrived, back three seconds later; the same push continues to its end.

    A registry that was killed forgets the uploads under way, as it signs their addresses with a secret that it makes up
    at its start. So what is sent again is what it had of them when it was killed, and of each the chunk on its way.
    """
    image = load_image(stage.layout, "leviathan-standard")
    uploads = stage.registry.storage / "docker/registry/v2/repositories" / AGAIN / "_uploads"
    options = (f"image.repository={AGAIN}", f"push.chunk_mib={CHUNK_MIB}", f"push.parallel={PARALLEL}")
    running = stage.begin("push", "--json", *(word for option in options for word in ("--set", option)))
    try:
        wait("a tenth of the image in the registry", lambda: arrived(uploads) > image.size / 10, 60, pause=0.02)
        need(running.process.poll() is None, "the push had ended before")
        stage.registry.process.kill()
        there = seen["bytes there when it was killed"] = arrived(uploads)  # after the kill: nothing more arrives
        time.sleep(3)
        stage.registry.start()
    finally:
        outcome = stage.end(running)
    need(outcome.status == 0, f"exit status {outcome.status}: {outcome.talk[-500:]}")
    data = outcome.data
    seen["bytes of the image"], seen["bytes sent"] = image.size, data["bytes_sent"]
    seen["says"] = [line for line in outcome.talk.splitlines() if "refused" in line][:1]
    need(data["digest"] == image.top.digest, "another digest")
    again = data["bytes_sent"] - image.size
    need(again >= there, "less was sent again than the registry has forgotten: then what did it store?")
    need(again <= there + PARALLEL * (CHUNK_MIB << 20), "more was sent again than what was under way")
    second = stage.must("push", "--json", "--set", f"image.repository={AGAIN}").data
    need(second["bytes_sent"] == 0, "something was missing after it")


def arrived(uploads: Path) -> int:
    """Bytes of uploads that the registry has begun and not ended."""
    total = 0
    for path in uploads.glob("*/data"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # ended meanwhile
            continue
    return total


def etcd_slow(stage: Stage, seen: dict[str, Any]) -> None:
    """A deployment from nothing while etcd stalls for 0.8 s of every second."""
    clear(stage)
    with stage.plane.slow_etcd():
        begun = time.monotonic()
        outcome = stage.tool("deploy", "--json", "--skip", "push", timeout=600)
        seen["seconds"] = round(time.monotonic() - begun, 1)
    need(outcome.status == 0, f"exit status {outcome.status}: {outcome.talk[-500:]}")
    seen.update(phases(outcome.data))
    running_image(stage)
    wait("the node Ready in the API", stage.plane.node_is_ready, 90)  # a kubelet's status may not have come through


def tool_killed(stage: Stage, seen: dict[str, Any]) -> None:
    """SIGKILL in each phase, one after the other; the same command, left alone, then succeeds."""
    clear(stage)
    words = ("deploy", "--json", "--set", "image.repository=omni/killed")
    for number, phase in enumerate(NAMES, 1):
        lines = killed_in(stage, words, phase, number)
        seen[f"killed in {phase}"] = lines[-1]
    last = stage.must(*words)
    seen.update(phases(last.data))
    items = our_pods(stage)
    need(len(items) == 1, f"{len(items)} pods")
    need("omni/killed@" in items[0]["spec"]["containers"][0]["image"], "the pod has another image")
    again = stage.must(*words)
    need(not again.data["changed"], "a second run changes something")


def killed_in(stage: Stage, words: tuple[str, ...], phase: str, number: int) -> list[str]:
    """The tool's talk, when it was killed in the phase, the `number`th. Errors: WayError when it got beyond it.

    A phase may take less than it takes to see that it has begun: then it is tried again, with less of a pause. In apply
    there is none: a kill in the middle of a Service's creation leaves its node port taken, by nobody, until the API
    server's own repair some minutes later.
    """
    pauses = {"push": (0.5, 0.05, 0.0), "rollout": (0.5, 0.05, 0.0), "apply": (0.0,)}
    for pause in pauses.get(phase, (0.05, 0.02, 0.0)):
        lines = killed(stage, words, phase, number, pause)
        if in_phase(lines, phase, number):
            return lines
    raise WayError(f"it was not killed in {phase}: its last words were {lines[-2:]}")


def killed(stage: Stage, words: tuple[str, ...], phase: str, number: int, pause: float) -> list[str]:
    """Start the tool and kill it `pause` seconds after it has said that the phase begins; the lines of its talk."""
    running = stage.begin(*words)
    try:
        if phase == "model":  # it only reads a log: with nobody to answer, it is still at it when it is killed
            wait("the phase push", partial(begun, running, "push", number - 1), 300, pause=0.02)
            stage.plane.api_server.pause()
        wait(f"the phase {phase}", partial(begun, running, phase, number), 300, pause=0.02)
        time.sleep(pause)
    finally:
        running.process.kill()
        running.process.wait()
        stage.plane.api_server.resume()
    return running.talk.read_text(encoding="utf-8").strip().splitlines()


def in_phase(lines: list[str], phase: str, number: int) -> bool:
    """Whether the phase is the last that has begun, and has not ended."""
    told = [line for line in lines if line.startswith("deploy: ")]
    return bool(told) and told[-1] == beginning(phase, number)


def beginning(phase: str, number: int) -> str:
    """How the tool says that a phase begins."""
    return f"deploy: {phase} ({number} of {len(NAMES)})"


def begun(running: Running, phase: str, number: int) -> bool:
    """Whether the tool has said that it begins the phase, or has ended."""
    said = beginning(phase, number) in running.talk.read_text(encoding="utf-8")
    return said or running.process.poll() is not None
