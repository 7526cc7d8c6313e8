"""Fetch what the store lacks: choose the clients, see that there is room, run the pipeline."""

import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from leviathan_fetch import store
from leviathan_fetch.clients import apt, pip_client
from leviathan_fetch.clients import base as clients
from leviathan_fetch.clients.base import Client, Job
from leviathan_fetch.errors import FetchError
from leviathan_fetch.options import Options
from leviathan_fetch.pipeline import Outcome, Pipeline, digest
from leviathan_fetch.progress import Progress, size
from leviathan_fetch.project import Project
from leviathan_fetch.records import Record

SPARE = 64 << 20


def bring(missing: Sequence[Record], options: Options, project: Project, handle: int, downloads: Path) -> Outcome:
    """Fetches the `missing` artifacts; `handle` is the lock that is held, for children to inherit.

    `downloads` has the files until they are in the store. Each list of artifacts needs its own folder, because the
    folder is removed when the list is complete. Errors: FetchError, after a line for each artifact that failed.
    """
    need_space(missing, downloads, project.store)
    shutil.rmtree(project.state / "tmp", ignore_errors=True)  # what a killed fetch left there
    jobs = [job_of(record, downloads) for record in missing]
    present = [job for job in jobs if job.part.exists() and digest(job.part) == job.record.sha256]
    others = [job for job in jobs if job not in present]
    debs = [job for job in others if job.record.kind != "pypi"]
    wheels = [job for job in others if job.record.kind == "pypi"]
    work: list[tuple[Client, list[Job]]] = []
    if present:
        work.append((clients.Present(), present))
    if debs:
        work.append((debian_client(options, project, handle), debs))
    if wheels:
        work.append((index_client(options, handle), wheels))
    progress = Progress(sys.stderr, len(jobs))
    try:
        outcome = Pipeline(partial(store.add, temporary=project.state / "tmp"), progress).run(work)
    finally:
        progress.clear()
        for job in jobs:
            with suppress(OSError):
                job.folder.rmdir()  # those where nothing has come
    if outcome.errors:
        raise FetchError(f"{len(outcome.errors)} of {len(jobs)} artifacts could not be fetched, see above")
    shutil.rmtree(downloads, ignore_errors=True)  # including files of earlier locks
    return outcome


def job_of(record: Record, downloads: Path) -> Job:
    """Makes the job of a record, with its folder; a file that an interrupted fetch renamed becomes its part again."""
    job = Job(record, downloads / record.sha256)
    job.folder.mkdir(parents=True, exist_ok=True)
    named = job.folder / record.name
    if named.is_file() and not job.part.exists():
        named.replace(job.part)
    return job


def need_space(missing: Sequence[Record], downloads: Path, nix_store: Path) -> None:
    """Checks that the sizes in the locks fit the disks of the downloads and the store. Errors: FetchError.

    What earlier fetches left in `downloads` only needs room in a store on another disk.
    """
    whole = sum(record.size or 0 for record in missing)
    left = sum(max(0, (record.size or 0) - come(record, downloads)) for record in missing)
    one_disk = store.nearest(downloads).stat().st_dev == store.nearest(nix_store).stat().st_dev
    for folder, count in ((downloads, left), (nix_store, left if one_disk else whole)):
        need = count + SPARE
        free = store.free_bytes(folder)
        if free < need:
            what = f"{folder} has {size(free)} free, but at least {size(need)} are needed"
            raise FetchError(what, "free some disk space and run it again", "disk")


def come(record: Record, downloads: Path) -> int:
    """Returns the bytes of a record that earlier fetches left in `downloads`, under either name (see `job_of`)."""
    job = Job(record, downloads / record.sha256)
    return max((path.stat().st_size for path in (job.part, job.folder / record.name) if path.is_file()), default=0)


def debian_client(options: Options, project: Project, handle: int) -> Client:
    """Returns the client for Debian packages: the given mirror, or the host's apt. Errors: FetchError without both."""
    if options.debian_mirror:
        addresses = clients.pool(options.debian_mirror, options.debian_security_mirror)
        return clients.WebClient(addresses, options.jobs)
    if not apt.available():
        what = "this host has no apt to fetch Debian packages with"
        raise FetchError(what, "give a mirror with --debian-mirror URL or LEVIATHAN_DEBIAN_MIRROR")
    return clients.AptClient(project.state / "apt", max(1, options.jobs // 2), (handle,))


def index_client(options: Options, handle: int) -> Client:
    """Returns the client for wheels and source archives: the given index, or the host's pip. Errors: FetchError."""
    if options.index_url:
        return clients.WebClient(clients.simple_index(options.index_url), options.jobs)
    if pip_client.find_python() is None:
        raise FetchError("this host has no pip to fetch wheels with", pip_client.NO_PIP)
    return clients.PipClient(options.jobs, (handle,))
