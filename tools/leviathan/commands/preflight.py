"""`leviathan preflight`."""

import os
from pathlib import Path

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.errors import LeviathanError
from leviathan.terminal.output import Report

HELP = """Check everything that a deployment needs, and report all problems at once. Changes nothing.

Checks the cluster and its version, the node, free GPUs, CPU and memory, RuntimeClass, Pod Security, NodePort, object
names, permissions, image, registry, the node's CPU model, and whether the model fits. Each finding has the command that
fixes it. Exits with 3 if something would stop the deployment; warnings do not count.

\b
Examples:
  leviathan preflight
  leviathan preflight --header header.json --gpu-memory 102642,34190
  leviathan preflight --context home --json
"""


@click.option("--context", metavar="NAME", help="Kubeconfig context (cluster.context).")
@click.option("--node", metavar="NAME", help="Node (cluster.node).")
@click.option("--namespace", metavar="NAME", help="Namespace (cluster.namespace).")
@click.option(
    "--header",
    type=click.Path(path_type=Path),
    help="GGUF folder, header dump or model manifest to plan with (model.manifest).",
)
@click.option("--gpu-memory", metavar="MB,MB", default="", help="Memory of each GPU, in PCI order (engine.gpu_split).")
def preflight_command(invocation: Invocation, header: Path | None, gpu_memory: str) -> int:
    """Run all checks."""
    bad: list[LeviathanError] = []

    def looked() -> Report:
        from leviathan.preflight.preflight_phase import run  # noqa: PLC0415 - the Kubernetes client is slow to import

        site = invocation.load_site().site
        found = run(site, os.environ, invocation.console, header=header, gpu_memory=gpu_memory)
        if not found.ok:
            bad.append(found.error())
        return Report(found.text(), found.data(), ok=found.ok)

    status = invocation.finish(looked)
    for error in bad:
        invocation.console.error(error)
        status = error.exit_code
    return status


command = make_command(
    "preflight", HELP, context="cluster.context", node="cluster.node", namespace="cluster.namespace"
)(preflight_command)
