"""Records what a real API server answers in each way that a rollout can fail, into `rollout/NAME.json` in this folder.

The control plane has no kubelet for the node talos-u8k-rze; the namespace ai-workloads in it is used up. Scheduler,
controllers and admission are the real ones; `played_kubelet` writes what a kubelet would write. A recording has what
`leviathan rollout` reads.
"""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import rollout_scenes_api
import rollout_scenes_kubelet
from rollout_bench import SCENES, Bench

from leviathan.cluster.client import connect
from leviathan.site.load import load

DIGEST = f"image.digest=sha256:{'1' * 64}"
MODULES = (rollout_scenes_api, rollout_scenes_kubelet)  # importing them fills SCENES


def main(plane: Path, wanted: list[str]) -> None:
    """Record the scenes `wanted`, or all, with the control plane in the folder `plane`."""
    for name in wanted or SCENES:
        play, settings = SCENES[name]
        site = load(settings=[DIGEST, *settings]).site
        bench = Bench(connect(site, {"KUBECONFIG": str(plane / "admin.kubeconfig")}), site)
        bench.clean()
        start = datetime.now(UTC)
        play(bench)
        time.sleep(0.7)  # the controllers have the last word
        bench.record(name, settings, start)
        bench.clean()
        sys.stderr.write(f"{name}: {(datetime.now(UTC) - start).total_seconds():.1f} s\n")
