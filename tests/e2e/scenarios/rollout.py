"""One rollout's timeline: the pod's conditions and events, the engine's own progress, the deployment's phases."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from e2e.background import meanwhile
from e2e.control_plane import objects
from e2e.control_plane.api import Api, Json

from .errors import WayError
from .picture import Step

NOTE = "what Kubernetes says has whole seconds, the engine was asked five times a second"
PAUSE = 0.2  # seconds between two questions to the engine
EVENTS = f"/api/v1/namespaces/{objects.NAMESPACE}/events"


@dataclass(frozen=True)
class Progress:
    """What the engine says of itself: its phase, and the layers that it has of how many (0 when it does not know)."""

    phase: str
    loaded: int
    layers: int


def progress_of(text: str) -> Progress | None:
    """The progress in the body of /health; None when it is another body."""
    try:
        body = json.loads(text)
        return Progress(str(body["phase"]), int(body["layers_loaded"] or 0), int(body["layers"] or 0))
    except (ValueError, KeyError, TypeError):
        return None


@contextmanager
def watched(ask: Callable[[], Progress | None], pause: float = PAUSE) -> Iterator[dict[Progress, float]]:
    """Asks again and again as long as the block runs; each answer once, and when it came first (seconds since 1970).

    Errors: those of `meanwhile`.
    """
    seen: dict[Progress, float] = {}

    def turn() -> None:
        answer = ask()
        if answer is not None:
            seen.setdefault(answer, time.time())

    with meanwhile(turn, pause):
        yield seen


def steps(api: Api, pod: Json, seen: Mapping[Progress, float], phases: Sequence[Json]) -> list[Step]:
    """The rows of the picture, in their order.

    Arguments: `pod`, which is ready; `seen`, the engine's answers and when they came first; `phases`, of the
    deployment's result. Errors: WayError when a condition or an event is missing.
    """
    told = events(api.send("GET", EVENTS)["items"], pod["metadata"]["uid"])
    created = seconds(pod["metadata"]["creationTimestamp"])
    scheduled, ready = condition(pod, "PodScheduled"), condition(pod, "Ready")
    pulling, pulled, started = (event(told, reason) for reason in ("Pulling", "Pulled", "Started"))
    return [
        *(phase_step(one) for one in phases if one["phase"] != "smoke"),
        Step("  scheduled", created, scheduled),
        Step("  image pulled and unpacked", pulling, pulled),
        Step("  container started", pulled, started),
        *engine(seen, started),
        Step("  pod Ready", ready, ready),
        *(phase_step(one) for one in phases if one["phase"] == "smoke"),
    ]


def engine(seen: Mapping[Progress, float], started: float) -> list[Step]:
    """The engine's steps from the container's start on: until it answers, its phases, the loading of its layers.

    Errors: WayError when it never said that all layers are there.
    """
    whole = [(one.layers, when) for one, when in seen.items() if one.layers and one.loaded == one.layers]
    if not whole:
        raise WayError(f"the engine never said that all layers are loaded, only {sorted(map(str, seen))}")
    layers, all_there = min(whole, key=lambda one: one[1])
    phases: dict[str, float] = {}
    for one, when in seen.items():
        phases.setdefault(one.phase, when)
    begins = list(phases.values())
    loading = min(when for one, when in seen.items() if one.loaded)
    return [
        Step("  engine answers", min(started, begins[0]), begins[0]),
        *(Step(f"  engine: {name}", *span) for name, span in zip(phases, itertools.pairwise(begins), strict=False)),
        Step(f"  layers loaded: {layers} of {layers}", loading, all_there),
    ]


def phase_step(phase: Json) -> Step:
    """A phase of the deployment."""
    begin = seconds(phase["began"])
    return Step(str(phase["phase"]), begin, begin + float(phase["seconds"]))


def condition(pod: Json, kind: str) -> float:
    """When a condition of a pod came true. Errors: WayError when it is not true."""
    for one in pod["status"]["conditions"]:
        if one["type"] == kind and one["status"] == "True":
            return seconds(one["lastTransitionTime"])
    raise WayError(f"the pod's condition {kind} is not true")


def events(items: Sequence[Json], uid: str) -> dict[str, float]:
    """Reason → when it was told first, of the events about an object."""
    found: dict[str, float] = {}
    for one in items:
        if one["involvedObject"].get("uid") == uid:
            when = seconds(one.get("firstTimestamp") or one.get("eventTime") or one["metadata"]["creationTimestamp"])
            found[one["reason"]] = min(when, found.get(one["reason"], when))
    return found


def event(told: Mapping[str, float], reason: str) -> float:
    """When an event was told. Errors: WayError when it was not."""
    if reason not in told:
        raise WayError(f"there is no event {reason} about the pod, only {', '.join(told)}")
    return told[reason]


def seconds(text: Any) -> float:
    """Seconds since 1970 of a time in RFC 3339. Errors: ValueError."""
    return datetime.fromisoformat(str(text)).timestamp()
