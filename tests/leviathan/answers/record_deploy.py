"""Records what a real API server answers to whole deployments, into `deploy/NAME.json` next to this file.

The control plane has no kubelet for the node talos-u8k-rze; the namespace ai-workloads in it is used up. The registry,
the front and the image are real; `deploy_stage` plays the node. The recordings have preflight, model, apply, rollout
and smoke: of a first deployment (`first`), of a second one that finds nothing to do (`again`), and of one whose smoke
test fails and is rolled back (`taken-back`).
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from deploy_stage import HOST, NODE_PORT, SIZES, PlayedNode, Stage, stage, unsteady
from normal_form import normalised
from push_support import make_layout
from record_api import ANSWERS, Recording, recorded
from rollout_bench import Bench

from leviathan.cluster.client import connect
from leviathan.deploy.phase_sequence import deploy
from leviathan.deploy.phases import PHASES, Work
from leviathan.errors import LeviathanError
from leviathan.rollout.observe.reader import collections
from leviathan.terminal.output import Console

#: What tells one request from another; the rest (versions, times, pages) differs from run to run.
KEPT = {"watch", "limit", "dryRun", "labelSelector", "fieldSelector"}


def main(plane: Path, wanted: list[str]) -> None:
    """Record all with the control plane in the folder `plane`: each recording is a step of the same story."""
    if wanted:
        raise SystemExit("expected no NAME: deploy is one story in steps; fix: scripts/record deploy")
    environ = {**os.environ, "KUBECONFIG": str(plane / "admin.kubeconfig")}
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as first:
        cluster = connect(first.site, environ)
        clean(Bench(cluster, first.site))
        with PlayedNode(cluster, first.site) as node:
            node.downloaded()
            for name in ("first", "again"):
                recording = run(first, environ)
                save(recording, first, name)
            layout = make_layout(Path(folder) / "two", SIZES, seed=1)
            second = replace(first, layout=layout, settings=(*first.settings, f"image.layout={layout.path}"))
            letters = first.front.letters
            letters.tokens = unsteady(letters)
            save(run(second, environ, rollback_on_failure=True), first, "taken-back")
        clean(Bench(cluster, first.site))


def run(what: Stage, environ: dict[str, str], *, rollback_on_failure: bool = False) -> Recording:
    """Deploy, and give what was asked and answered."""
    argv = [sys.executable, "-m", "leviathan", "push", *what.arguments]
    subprocess.run(argv, env={**environ, "XDG_STATE_HOME": str(what.folder / "state")}, check=True)
    work = Work(what.site, environ, Console(), rollback_on_failure=rollback_on_failure)
    cluster, recording = recorded(connect(what.site, environ))
    work.__dict__["cluster"] = cluster
    try:
        deploy(work, [phase for phase in PHASES if phase.name != "push"], resume=lambda name: name)
    except LeviathanError as error:
        sys.stderr.write(f"{error.line()}\n")
    for path, query in collections(what.site).values():
        cluster.list(path, **query)  # how it is at the end, for a replay that asks again
    return recording


def save(recording: Recording, what: Stage, name: str) -> None:
    """Write the recording with the registry and the port of every recording."""
    for exchange in recording.exchanges:
        exchange["query"] = {key: value for key, value in exchange["query"].items() if key in KEPT}
    text = json.dumps(normalised(recording.exchanges, recording.start), indent=1, ensure_ascii=False)
    text = text.replace(what.registry.host, HOST).replace(str(what.site.engine.node_port), str(NODE_PORT))
    path = ANSWERS / "deploy" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    sys.stderr.write(f"{name}: {len(recording.exchanges)} exchanges\n")


def clean(bench: Bench) -> None:
    """Take away what a deployment has made; the namespace as well, so that the next one is new."""
    bench.clean()
    space = f"/api/v1/namespaces/{bench.site.cluster.namespace}"
    if bench.cluster.get(space) is not None:
        bench.cluster.delete(space)
        bench.until("the namespace's end", lambda: bench.cluster.get(space) is None, 120)
