"""preflight, asking an API server that replays a recording."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakes.replay_api import ANSWERS, Answer, ApiRequest, ReplayApi, read_recording
from push_support import Talk

from leviathan.cluster.client import Cluster, RetryPolicy, connect
from leviathan.preflight.facts import Facts
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

HASTY = RetryPolicy(first_s=0.2, again_s=0.2, request_s=5, connect_s=2, pause_s=0.05)


class Replay(ReplayApi):
    """Answers a request that has a body by the recorded one with the same body: reviews come in any order."""

    def answer(self, asked: ApiRequest) -> Answer:
        if asked.body is not None:
            for each in self.exchanges:
                if (each.method, each.path, each.sent) == (asked.method, asked.path, asked.body):
                    self.asked.append(asked)
                    return each.answer
        return super().answer(asked)


@contextmanager
def replayed(scene: str) -> Iterator[Replay]:
    server = Replay(read_recording(ANSWERS / f"preflight/{scene}.json"))
    try:
        yield server
    finally:
        server.close()


def facts_of(site: Site, server: ReplayApi, folder: Path) -> Facts:
    def connecting() -> Cluster:
        cluster = connect(site, {"KUBECONFIG": str(server.kubeconfig(folder))})
        cluster.transport.patience = HASTY
        return cluster

    return Facts(site, {}, Console(Talk()), connect=connecting)
