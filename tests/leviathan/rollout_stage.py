"""One run of `leviathan rollout`: a scene, its API server, the console."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.replay_api import Answer, ReplayApi
from push_support import Talk
from rollout_support import Scene, closed_port, cluster_of, scene, waits

from leviathan.cluster.objects import name_of
from leviathan.rollout import judge as judge_module
from leviathan.rollout.observe import reader as reader_module
from leviathan.rollout.wait import RolledOut, RolloutError, run
from leviathan.terminal.output import Console

LOG = [f"line {number}" for number in range(60)]


def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayApi]:
    """An API server without answers, and a rollout that asks for health and log ten times a second."""
    monkeypatch.setattr(reader_module, "HEALTH_S", 0.1)
    monkeypatch.setattr(reader_module, "LOG_S", 0.1)
    monkeypatch.setattr(judge_module, "REACH_S", 0.6)
    replay = ReplayApi()
    yield replay
    replay.close()


class Stage:
    """One run of the command: a scene, its API server, the console."""

    def __init__(self, server: ReplayApi, name: str, folder: Path, **seconds: float) -> None:
        self.server, self.folder = server, folder
        self.scene: Scene = scene(name)
        self.scene.site = waits(
            self.scene.site, **{"patience_s": 0.3, "idle_s": 120, "timeout_s": 200, "heartbeat_s": 0.4, **seconds}
        )
        self.talk = Talk()
        self.enough = ""

    def pod_path(self, rest: str) -> str:
        return f"/api/v1/namespaces/ai-workloads/pods/{name_of(self.scene.pod)}{rest}"

    def health(self, *answers: Answer) -> None:
        """What the NodePort answers; without any answer, nothing listens there."""
        self.scene.at(self.server.address if answers else closed_port())
        if answers:
            self.server.add("GET", "/health", *answers)

    def inside(self, *answers: Answer) -> None:
        """What the pod answers through the API server."""
        self.server.add("GET", self.pod_path(":30000/proxy/health"), *answers)

    def log(self, lines: list[str]) -> None:
        self.server.add("GET", self.pod_path("/log"), Answer(text="\n".join(lines) + "\n"))

    def clock(self) -> float:
        """The time, and far in the future once what was waited for has been said: no test depends on a fast machine."""
        return time.monotonic() + (10_000 if self.enough and self.enough in self.talk.getvalue() else 0)

    def run(self, *, serve: bool = True) -> RolledOut:
        if serve:
            self.scene.serve(self.server)
        return run(self.scene.site, cluster_of(self.server, self.folder), Console(self.talk, clock=self.clock))

    def failure(self, enough: str = "") -> RolloutError:
        self.enough = enough
        with pytest.raises(RolloutError) as caught:
            self.run()
        return caught.value
