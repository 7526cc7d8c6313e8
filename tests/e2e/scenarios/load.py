"""64 clients that stream through the NodePort: no answer lost, none mixed up, and the engine's memory flat."""

import shutil
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from e2e.control_plane.errors import ControlPlaneError

from . import memory, network_counters, scene
from .clients import Crowd, refused, stream
from .engine_processes import ALL, engine_processes
from .happy_path import SPACE, lives, need
from .report import Report
from .stage import Stage

CLIENTS = 64
SECONDS = 120.0  # in which clients begin another request; the last answers come after it
SCENE = "load-failure"  # a folder of the report's, only after a failure
SLICES = f"/apis/discovery.k8s.io/v1/{SPACE}/endpointslices"
MOMENTS = 3  # refused connections of which the network's counters are read at once


def load(stage: Stage, report: Report, folder: Path) -> None:
    """The load as a check. When it fails, what is left of it is saved in `folder`, and the run continues."""
    name = f"load: {CLIENTS} clients stream, no answer lost or mixed, memory flat"
    report.attempt(name, partial(show, stage, folder / SCENE))


def show(stage: Stage, folder: Path, seen: dict[str, Any]) -> None:
    """Each client has a prompt of its own, asked alone first. Errors: WayError and others, with `folder` filled."""
    shutil.rmtree(folder, ignore_errors=True)  # an earlier run's
    try:
        prompts = [f"client {number} counts {number * 7919 % 1000}" for number in range(CLIENTS)]
        crowd_of(stage, prompts, answers_alone(prompts, seen), seen)
    except Exception:
        seen[f"saved in {folder.name}"] = scene.save(stage, folder)
        raise


def answers_alone(prompts: list[str], seen: dict[str, Any]) -> list[str]:
    """The answer to each prompt, with one client. Errors: WayError unless all have an end and differ."""
    begun = time.monotonic()
    alone = [stream(prompt) for prompt in prompts]
    different = len({one.text for one in alone})
    seen["alone"] = f"{len(alone)} answers, {different} of them different"
    seen["seconds alone"] = round(time.monotonic() - begun, 1)
    need(all(one.whole for one in alone), "an answer without an end, with one client")
    need(different == len(alone), "two answers are equal: a mix-up of them would not be seen")
    return [one.text for one in alone]


def crowd_of(stage: Stage, prompts: list[str], alone: list[str], seen: dict[str, Any]) -> None:
    """All clients at once, with everything noted before anything is judged. Errors: WayError and others."""
    moments = Moments(stage)
    crowd = Crowd(prompts, alone, SECONDS, moments.note)
    before, begun = lives(stage), time.monotonic()
    moments.take("before")
    with memory.sampled(partial(memory.anonymous, stage.node.ancestor)) as samples:
        crowd.run()
    seen["seconds under load"] = round(time.monotonic() - begun, 1)
    moments.take("after")
    after = lives(stage)
    tell(crowd, seen)
    seen["pods: name, UID, restarts"] = [before, after]
    seen["network"] = moments.taken
    tell_memory(samples, seen)
    judge(crowd, seen)
    need(before == after, "the pod was restarted or replaced")
    need(all(one.size for one in samples), "the engine's processes were not found")
    grown = memory.growth(samples, SECONDS)
    need(grown <= memory.GROWTH, f"the engine's memory grows: its low-water mark by {grown} B")


def tell(crowd: Crowd, seen: dict[str, Any]) -> None:
    """The requests' numbers."""
    seen["answers"] = crowd.answers
    seen["different"] = sum(one.different for one in crowd.tallies)
    seen["torn"] = sum(one.torn for one in crowd.tallies)
    seen["fewest answers of a client"] = min(one.answers for one in crowd.tallies)
    seen["failed requests"] = crowd.failed
    seen["the first failures: seconds, client, error"] = crowd.failures


def tell_memory(samples: list[memory.Sample], seen: dict[str, Any]) -> None:
    """Memory every ten seconds, and by how much its low-water mark rose, where there are samples enough to tell."""
    seen["memory, MB, every 10 s"] = [round(one.size / 1e6) for one in samples[::10]]
    with suppress(ValueError):
        seen["memory, MB by which the low-water mark rose"] = round(memory.growth(samples, SECONDS) / 1e6, 1)


def judge(crowd: Crowd, seen: dict[str, Any]) -> None:
    """Errors: WayError when a request has failed or an answer is not the client's own."""
    first = crowd.failures[:1]
    need(not crowd.failed, f"{crowd.failed} requests failed; the first (seconds, client, error): {first}")
    need(seen["different"] == 0, "answers differ from those given alone")
    need(seen["torn"] == 0, "answers without an end")


class Moments:
    """The network's counters before, after, and at the moment of a refused connection."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.taken: list[dict[str, object]] = []
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._refused = 0

    def note(self, error: Exception) -> None:
        """To be called with a request's error: takes the counters where nobody took the connection."""
        if not refused(error):
            return
        with self._lock:
            self._refused += 1
            number = self._refused
        if number <= MOMENTS:
            self.take(f"refused connection {number}")

    def take(self, when: str) -> None:
        """Read everything now."""
        pod = {f"pod, process {one}": one for one in engine_processes(self.stage.node.ancestor, ALL)[:1]}
        seconds = round(time.monotonic() - self._begun, 2)
        found = network_counters.snapshot({"node": "self", **pod})
        self.taken.append({"when": when, "seconds": seconds, **found, "endpoints": self.endpoints()})

    def endpoints(self) -> object:
        """Address and conditions of each endpoint as the API has them now, or why it does not say."""
        try:
            slices = self.stage.plane.api.send("GET", SLICES)["items"]
        except ControlPlaneError as error:
            return str(error)
        return [(each["addresses"], each["conditions"]) for one in slices for each in one.get("endpoints") or ()]
