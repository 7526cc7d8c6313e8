"""`leviathan model`."""

import os
from pathlib import Path

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Wait until the model is downloaded, and compare its files with a manifest.

Follows the log of the pod model.pod until a line contains model.done_marker. Shows progress, and reconnects when the
connection breaks. If model.manifest is set, then compares file names and sizes with it, by listing the folder in that
pod, or in the engine's pod if it runs. With --folder, compares a local folder instead, without the cluster.

If model.repository or model.urls is set and model.pod is empty, starts a Job that downloads the files to the site's
storage. The Job uses several connections, resumes interrupted files, verifies SHA-256, and gives a file its final name
only when it is complete. Its manifest is written to model.manifest. A second run follows the Job, or restarts it if it
failed.

\b
Examples:
  leviathan model
  leviathan model --download --set model.repository=OWNER/NAME-GGUF --set 'model.include=Q4_K_M/*' --set model.pod=
  leviathan model --folder /models/deepseek-v3-gguf --write-manifest model.json --sha256
  leviathan model --manifest model.json --sha256
  leviathan model --folder /models/deepseek-v3-gguf --manifest model.json --json
"""


@click.option("--pod", metavar="NAME", help="Pod that downloads the model (model.pod).")
@click.option("--pod-namespace", metavar="NAME", help="Namespace of that pod (model.pod_namespace).")
@click.option("--idle", metavar="SECONDS", help="Fail after this long without a log line (model.idle_s).")
@click.option("--manifest", metavar="FILE", help="Manifest to compare the files with (model.manifest).")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Local folder with the model's files.")
@click.option("--sha256", "hashed", is_flag=True, help="Also verify SHA-256, which reads every byte.")
@click.option(
    "--write-manifest",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Only write a manifest of the files in --folder to this file.",
)
@click.option("--download", "force", is_flag=True, help="Download with a Job (model.repository or model.urls).")
def model_command(
    invocation: Invocation, folder: Path | None, hashed: bool, write_manifest: Path | None, force: bool
) -> int:
    """Wait and compare, or write a manifest."""
    if write_manifest is not None and folder is None:
        raise click.UsageError("--write-manifest also needs --folder FOLDER, the folder with the model's files")

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
