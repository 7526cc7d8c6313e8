"""The phase `model`: waits for the download, then compares the files with the manifest."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan.cluster.client import Cluster, exits
from leviathan.errors import ExitCode
from leviathan.model.download_wait import wait_for_download
from leviathan.model.downloaded import Downloaded, ModelError
from leviathan.model.local_files import local_hashes, local_sizes
from leviathan.model.manifest import Manifest, read_manifest
from leviathan.model.verify import Verified, verify
from leviathan.site.schema import Site
from leviathan.terminal.output import Console


@dataclass(frozen=True)
class Model:
    """The state of the model: its download and the comparison of its files; None for what was not checked."""

    downloaded: Downloaded | None
    verified: Verified | None

    def text(self) -> str:
        """The result for people."""
        lines = [self.downloaded.text()] if self.downloaded else []
        lines.append(self.verified.text() if self.verified else "files not compared: model.manifest is not set")
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "changed": False,
            "downloaded": self.downloaded.data() if self.downloaded else None,
            "verified": self.verified.data() if self.verified else None,
        }


def run(
    site: Site,
    connect: Callable[[], Cluster],
    console: Console,
    *,
    folder: Path | None = None,
    hashed: bool = False,
    environ: Mapping[str, str] | None = None,
    force_download: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Model:
    """Wait for the download by `model.pod`, then compare the files with `model.manifest`, if it is set.

    Arguments: `connect`, called only if the cluster is needed; `folder`, compare the files in this local folder,
    without the cluster; `environ`, for the download's manifests; `force_download`, download with our Job instead of
    model.pod; `hashed`, also compare SHA-256 if the manifest has them (reads every byte).
    Errors: ModelError, ClusterError, both with exit status 5.
    """
    if (site.downloads or force_download) and folder is None:
        return _download(site, connect(), console, environ or {}, pause)
    manifest = read_manifest(Path(site.model.manifest)) if site.model.manifest else None
    if manifest is None and (folder is not None or hashed):
        raise ModelError(
            "there is no manifest to compare the files with",
            why="model.manifest is not set",
            remedy="name it with --manifest FILE; to write one: leviathan model --folder FOLDER --write-manifest FILE",
        )
    if folder is not None and manifest is not None:
        return Model(None, verify_local(site, manifest, folder, console, hashed=hashed))
    with exits(ExitCode.MODEL):
        if not site.model.pod and manifest is None:
            console.say("model: model.pod is empty, so there is no download to wait for")
            return Model(None, None)
        cluster = connect()
        downloaded = wait_for_download(site, cluster, console, pause=pause) if site.model.pod else None
        verified = None if manifest is None else verify_remote(site, cluster, manifest, console, hashed=hashed)
    return Model(downloaded, verified)


def _download(
    site: Site, cluster: Cluster, console: Console, environ: Mapping[str, str], pause: Callable[[float], None]
) -> Model:
    """Download with a Job, which also verifies SHA-256. Errors: ModelError, ClusterError."""
    from leviathan.model.download import download  # noqa: PLC0415 - the YAML reader is slow to import

    if not (site.model.repository or site.model.urls):
        raise ModelError(
            "no source is set for the download",
            remedy="--set model.repository=OWNER/NAME --set model.include='FOLDER/*', or model.urls",
        )
    with exits(ExitCode.MODEL):
        followed, manifest = download(site, cluster, console, environ, pause=pause)
    where = site.model.manifest or "the Job's list"
    size = sum(each.size for each in manifest.files)
    verified = Verified(site.engine.model_path, where, len(manifest.files), size, len(manifest.files))
    return Model(followed, verified)


def verify_local(site: Site, manifest: Manifest, folder: Path, console: Console, *, hashed: bool) -> Verified:
    """Compare the files below `folder`. Errors: ModelError."""
    sizes = local_sizes(folder)
    wanted = _hashed(manifest, sizes) if hashed else []
    hashes = local_hashes(folder, wanted, console, site.rollout.heartbeat_s) if wanted else {}
    return verify(manifest, site.model.manifest, sizes, hashes, str(folder))


def verify_remote(site: Site, cluster: Cluster, manifest: Manifest, console: Console, *, hashed: bool) -> Verified:
    """Compare the files as a pod on the node sees them. Errors: ModelError, ClusterError."""
    from leviathan.model.remote import find_probe, remote_hashes, remote_sizes  # noqa: PLC0415 - only with a manifest

    probe = find_probe(cluster, site)
    sizes = remote_sizes(cluster, probe)
    wanted = _hashed(manifest, sizes) if hashed else []
    if wanted:
        console.say(f"model: hashing {len(wanted)} files in {probe.namespace}/{probe.pod}, one by one")
    hashes = remote_hashes(cluster, probe, wanted, lambda name: console.say(f"model: hashed {name}"))
    return verify(manifest, site.model.manifest, sizes, hashes, probe.where)


def _hashed(manifest: Manifest, sizes: dict[str, int]) -> list[str]:
    """The files to hash: those with the right size. Errors: ModelError if the manifest has no hashes."""
    if not any(each.sha256 for each in manifest.files):
        raise ModelError(
            "the manifest has no SHA-256 to compare with",
            remedy="write it with leviathan model --folder FOLDER --write-manifest FILE --sha256",
        )
    return [each.name for each in manifest.files if each.sha256 and sizes.get(each.name) == each.size]
