"""`leviathan model`."""

import os
from pathlib import Path

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Wait until the model is downloaded, and compare its files with a manifest.

Follows the log of the pod model.pod until model.done_marker stands in it, with progress, through broken connections.
With a manifest (model.manifest) names and sizes are compared then, by listing the folder in that pod, or in the
engine's when it runs; --folder compares a local folder instead and asks no cluster.

With model.repository or model.urls, and no model.pod, a Job of ours downloads the files onto the site's storage:
several connections, resumed at the byte, verified by SHA-256, named once they are whole. Its manifest is written to
model.manifest. A second run follows the Job, or starts it again where it failed.

\b
Examples:
  leviathan model
  leviathan model --download --set model.repository=OWNER/NAME-GGUF --set 'model.include=Q4_K_M/*' --set model.pod=
  leviathan model --folder /models/deepseek-v3-gguf --write-manifest model.json --sha256
  leviathan model --manifest model.json --sha256
  leviathan model --folder /models/deepseek-v3-gguf --manifest model.json --json
"""


@click.option("--pod", metavar="NAME", help="Pod that downloads the model (model.pod).")
@click.option("--pod-namespace", metavar="NAME", help="Its namespace (model.pod_namespace).")
@click.option("--idle", type=int, metavar="SECONDS", help="Silence after which the download hangs (model.idle_s).")
@click.option("--manifest", metavar="FILE", help="Manifest to compare the files with (model.manifest).")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Local folder with the model's files.")
@click.option("--sha256", "hashed", is_flag=True, help="Also hash the files: it reads every byte.")
@click.option(
    "--write-manifest",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the manifest of the model in --folder to this file, and do nothing else.",
)
@click.option("--download", "force", is_flag=True, help="Download it by a Job of ours (model.repository, model.urls).")
def model_command(
    invocation: Invocation, folder: Path | None, hashed: bool, write_manifest: Path | None, force: bool
) -> int:
    """Wait and compare, or write a manifest."""
    if write_manifest is not None and folder is None:
        raise click.UsageError("--write-manifest wants --folder FOLDER, the model's files")

    def waited() -> Report:
        from leviathan.cluster.client import connect  # noqa: PLC0415 - imported when it is used
        from leviathan.model.model_phase import run  # noqa: PLC0415

        site = invocation.load_site().site
        done = run(
            site,
            lambda: connect(site, os.environ),
            invocation.console,
            folder=folder,
            hashed=hashed,
            environ=os.environ,
            force_download=force,
        )
        return Report(done.text(), done.data())

    def written() -> Report:
        from leviathan.model.local_files import write_manifest_of  # noqa: PLC0415
        from leviathan.terminal.output import write_atomically  # noqa: PLC0415

        assert write_manifest is not None
        assert folder is not None
        heartbeat_s = invocation.load_site().site.rollout.heartbeat_s
        made = write_manifest_of(folder, invocation.console, hashed=hashed, heartbeat_s=heartbeat_s)
        write_atomically(write_manifest, made.json())
        data = {"manifest": str(write_manifest), "files": len(made.files), "bytes": made.size}
        return Report(f"wrote {write_manifest}: {len(made.files)} files, {made.size} bytes", data)

    return invocation.finish(waited if write_manifest is None else written)


command = make_command(
    "model",
    HELP,
    pod="model.pod",
    pod_namespace="model.pod_namespace",
    idle="model.idle_s",
    manifest="model.manifest",
)(model_command)
