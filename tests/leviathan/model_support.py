"""What the tests of the download gate share: recorded pods, a site, and the way to the test server."""

from pathlib import Path
from typing import Any

from fakes.log_api import NAME, SPACE, LogApi
from fakes.replay_api import ANSWERS, read_recording

from leviathan.cluster.client import Cluster, RetryPolicy, connect
from leviathan.site.load import load
from leviathan.site.schema import Site

DONE = "DOWNLOAD COMPLETE"
HASTY = RetryPolicy(first_s=0.3, again_s=0.3, request_s=5, connect_s=2, pause_s=0.05)


def recorded(scene: str) -> dict[str, Any] | None:
    """The pod as a real API server gave it; None where it was not there."""
    exchange = next(each for each in read_recording(ANSWERS / f"model/{scene}.json") if each.path.endswith(NAME))
    return dict(exchange.answer.body) if exchange.answer.status == 200 else None


def site(**named: str) -> Site:
    values = {"cluster.namespace": SPACE, "rollout.heartbeat_s": "1", "model.idle_s": "5"}
    return load(named=values | {key.replace("__", "."): value for key, value in named.items()}).site


def joined(api: LogApi, folder: Path, wanted: Site) -> Cluster:
    cluster = connect(wanted, {"KUBECONFIG": str(api.kubeconfig(folder))})
    cluster.transport.patience = HASTY
    return cluster
