"""Records what a real API server answers in each way that a rollout can fail, into `rollout/NAME.json` beside this.

    PYTHONPATH=tools python tests/leviathan/answers/record_rollout.py KUBECONFIG [NAME ...]

KUBECONFIG is that of a control plane without a kubelet for the node talos-u8k-rze, as tests/e2e/control_plane starts
it; the namespace ai-workloads in it is used up. Scheduler, controllers and admission act by themselves; what a kubelet
would write is written by `played_kubelet`. Recorded is what `leviathan rollout` reads, without managedFields.
"""

import sys
import time

import rollout_scenes_api
import rollout_scenes_kubelet
from rollout_bench import SCENES, Bench

from leviathan.cluster.client import connect
from leviathan.site.load import load

DIGEST = f"image.digest=sha256:{'1' * 64}"
MODULES = (rollout_scenes_api, rollout_scenes_kubelet)  # importing them fills SCENES


def main(kubeconfig: str, wanted: list[str]) -> None:
    """Record the scenes `wanted`, or all."""
    for name in wanted or SCENES:
        play, settings = SCENES[name]
        site = load(settings=[DIGEST, *settings]).site
        bench = Bench(connect(site, {"KUBECONFIG": kubeconfig}), site)
        bench.clean()
        began = time.monotonic()
        play(bench)
        time.sleep(0.7)  # the controllers have the last word
        bench.record(name, settings)
        bench.clean()
        sys.stderr.write(f"{name}: {time.monotonic() - began:.1f} s\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
