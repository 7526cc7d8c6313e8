"""`leviathan model --download`: creates the Job, waits for its last log line, and saves the manifest that it prints."""

import base64
import binascii
import dataclasses
import json
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from leviathan.cluster.client import Cluster
from leviathan.cluster.kinds import path_of
from leviathan.cluster.secrets import ensure
from leviathan.manifests.download_job import arguments, job, name_of
from leviathan.manifests.files import Object
from leviathan.manifests.rendering import render
from leviathan.model.download_wait import wait_for_download
from leviathan.model.downloaded import Downloaded, ModelError
from leviathan.model.manifest import Manifest, ModelFile
from leviathan.site.schema import Site
from leviathan.terminal.output import Console, write_atomically
from leviathan.terminal.progress import Waiting

#: Kinds that must exist before the Job: the namespace and the claim that it writes to.
FIRST = ("Namespace", "PersistentVolume", "PersistentVolumeClaim")
#: Seconds to wait until the Job's controller has created a pod.
POD_S = 60.0
LOOK_S = 1.0


def download(
    site: Site,
    cluster: Cluster,
    console: Console,
    environ: Mapping[str, str],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[Downloaded, Manifest]:
    """Download the model in `model.repository` or `model.urls` to the site's storage.

    Follows an existing Job with the same arguments. Recreates a Job that has failed or has other arguments; the
    download then resumes. Writes the manifest to the file in model.manifest, if set.
    Errors: ModelError, ClusterError, LayoutError, RenderError.
    """
    rendered = render(site, environ)
    for each in rendered.objects:
        if each["kind"] in FIRST and cluster.get(path_of(each)) is None:
            cluster.apply(path_of(each), each)
            console.say(f"model: created {each['kind']}/{each['metadata']['name']}")
    ensure(site, cluster, environ, console)
    _start(site, cluster, console, job(site, rendered.image), pause)
    pod = _pod(site, cluster, console, pause)
    model = dataclasses.replace(site.model, pod=pod, pod_namespace=site.cluster.namespace)
    followed = wait_for_download(dataclasses.replace(site, model=model), cluster, console, pause=pause)
    manifest = manifest_of(cluster.log(site.cluster.namespace, pod, timeout_s=60))
    if site.model.manifest:
        write_atomically(Path(site.model.manifest), manifest.json())
        console.say(f"model: wrote {site.model.manifest}: {len(manifest.files)} files, with their SHA-256")
    return followed, manifest


def job_path(site: Site) -> str:
    """The API path of the site's download Job."""
    return f"/apis/batch/v1/namespaces/{site.cluster.namespace}/jobs/{name_of(site)}"


def _start(site: Site, cluster: Cluster, console: Console, wanted: Object, pause: Callable[[float], None]) -> None:
    """Create the Job, unless it exists with the same work and has not failed. A Job's pod template is immutable."""
    live = cluster.get(job_path(site))
    if live is not None:
        if not _failed(live) and _work(live) == _work(wanted) and "deletionTimestamp" not in live["metadata"]:
            console.say(f"model: Job/{name_of(site)} exists already")
            return
        cluster.delete(job_path(site), propagationPolicy="Foreground")
        with Waiting(console, f"model: deleting the old Job/{name_of(site)}"):
            while cluster.get(job_path(site)) is not None:
                pause(LOOK_S)
    cluster.create(job_path(site).rpartition("/")[0], wanted, fieldManager="leviathan")
    console.say(f"model: created Job/{name_of(site)}: {' '.join(arguments(site)[:6])}")


def _failed(live: Object) -> bool:
    conditions = live.get("status", {}).get("conditions") or []
    return any(each["type"] == "Failed" and each["status"] == "True" for each in conditions)


def _work(each: Object) -> Any:
    container = each["spec"]["template"]["spec"]["containers"][0]
    return container["args"], container["image"], container.get("envFrom")


def _pod(site: Site, cluster: Cluster, console: Console, pause: Callable[[float], None]) -> str:
    """The name of the Job's newest pod. Errors: ModelError if none is created in time."""
    path, selector = f"/api/v1/namespaces/{site.cluster.namespace}/pods", f"job-name={name_of(site)}"
    ends = console.clock() + POD_S
    while True:
        pods = cluster.list(path, labelSelector=selector)
        if pods:
            return str(max(pods, key=lambda each: each["metadata"]["creationTimestamp"])["metadata"]["name"])
        if console.clock() >= ends:
            raise ModelError(
                f"Job/{name_of(site)} has no pod after {POD_S:.0f} s",
                where=site.cluster.namespace,
                remedy=f"{cluster.kubectl} -n {site.cluster.namespace} describe job {name_of(site)}",
            )
        pause(LOOK_S)


def manifest_of(log: Iterable[str]) -> Manifest:
    """The manifest at the end of the downloader's log. Errors: ModelError if it is missing or incomplete."""
    files: dict[str, ModelFile] = {}
    packed: list[str] = []
    for line in log:
        kind, _, rest = line.partition(": ")
        if kind == "file" and len(words := rest.split(" ", 2)) == 3 and words[1].isdigit():
            files[words[2]] = ModelFile(words[2], int(words[1]), words[0])
            packed = []  # if the log has two runs, the last one counts
        elif kind == "header":
            packed.append(rest)
    try:
        header = zlib.decompress(base64.b64decode("".join(packed), validate=True)).decode()
        json.loads(header)
    except (binascii.Error, zlib.error, ValueError):
        header = ""
    if not files or not header:
        raise ModelError(
            "the download's log has no manifest",
            why="the lines `file:` and `header:` are missing or incomplete, so the log was cut off",
            remedy="run leviathan model --download again, which verifies the files and prints the manifest again",
        )
    return Manifest(tuple(files[name] for name in sorted(files)), header)
