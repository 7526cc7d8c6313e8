"""The four ways in which an artifact comes: apt, pip, a Debian mirror's address, a package index's address."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from leviathan_fetch.clients import apt, apt_download
from leviathan_fetch.clients import http as web
from leviathan_fetch.clients import package_index as index
from leviathan_fetch.clients.pip_client import PipWorker, Task
from leviathan_fetch.errors import FetchError
from leviathan_fetch.records import Record

APT_CALL = 8  # packages a call of apt: enough that its start does not matter, few enough that errors are near


@dataclass(frozen=True)
class Job:
    """An artifact on its way; `folder` is its own place under the downloads."""

    record: Record
    folder: Path

    @property
    def part(self) -> Path:
        """The file while it comes in."""
        return self.folder / "part"


Report = Callable[[Job, FetchError | None], None]


class Client(Protocol):
    """A way to bring files in."""

    def fetch(self, jobs: Sequence[Job], report: Report) -> None:
        """Bring each job's file to its `part` and report it, or report its error; from any thread, in any order.

        Returns when all are reported. Errors: FetchError when the client as a whole does not work.
        """


def in_threads(items: Sequence[Sequence[Job]], threads: int, work: Callable[[Sequence[Job]], None]) -> None:
    """Call `work` with each of `items` in `threads` threads; the first exception of one is raised here at the end."""
    waiting: queue.SimpleQueue[Sequence[Job]] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    raised: list[BaseException] = []

    def loop() -> None:
        try:
            while not raised:
                work(waiting.get_nowait())
        except queue.Empty:
            return
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=loop, daemon=True) for _ in range(min(threads, len(items)))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for error in raised:
        raise error


class Present:
    """Files that an earlier fetch left complete."""

    def fetch(self, jobs: Sequence[Job], report: Report) -> None:
        for job in jobs:
            report(job, None)


@dataclass(frozen=True)
class AptClient:
    """Debian packages through the host's apt; state below `folder`, `threads` calls at a time."""

    folder: Path
    threads: int
    keep_open: tuple[int, ...] = ()

    def fetch(self, jobs: Sequence[Job], report: Report) -> None:
        suites = sorted({job.record.suite for job in jobs})
        architecture = next((job.record.architecture for job in jobs if job.record.architecture != "all"), "amd64")
        private = apt.prepare(self.folder, suites, architecture)

        def work(chunk: Sequence[Job]) -> None:
            wanted = [
                apt_download.Wanted(job.record.suite, job.record.filename, job.record.sha256, job.part) for job in chunk
            ]
            errors = apt_download.download(private, wanted, self.keep_open)
            for job in chunk:
                report(job, errors.get(job.part))

        in_threads([jobs[start : start + APT_CALL] for start in range(0, len(jobs), APT_CALL)], self.threads, work)


@dataclass(frozen=True)
class PipClient:
    """Wheels and source archives through the host's pip, `threads` at a time."""

    threads: int
    keep_open: tuple[int, ...] = ()

    def fetch(self, jobs: Sequence[Job], report: Report) -> None:
        by_target = {str(job.part): job for job in jobs}
        with PipWorker([job.record.filename for job in jobs], self.threads, self.keep_open) as worker:
            for target, job in by_target.items():
                record = job.record
                worker.submit(Task(record.package, record.version, record.filename, record.sha256, target))
            for _ in jobs:
                answer = worker.receive()
                if isinstance(answer, tuple):
                    report(by_target[answer[0]], answer[1])
                else:
                    report(by_target[answer.target], None)


@dataclass(frozen=True)
class WebClient:
    """Any artifact by its address: `addresses` gives those to try, in order, until one has it."""

    addresses: Callable[[Record], Sequence[str]]
    threads: int

    def fetch(self, jobs: Sequence[Job], report: Report) -> None:
        def work(chunk: Sequence[Job]) -> None:
            for job in chunk:
                report(job, self.one(job))

        in_threads([[job] for job in jobs], self.threads, work)

    def one(self, job: Job) -> FetchError | None:
        """Download one file; its error when no address has it."""
        problem = FetchError(f"there is no address for {job.record.name}")
        try:
            for address in self.addresses(job.record):
                try:
                    web.download(address, job.part, size=job.record.size)
                    return None
                except FetchError as error:
                    problem = error
                    if error.kind != "gone":
                        break
        except FetchError as error:
            problem = error
        return problem


def pool(mirror: str, security: str | None) -> Callable[[Record], Sequence[str]]:
    """Where a Debian mirror has a package. Security suites have a mirror of their own: `security`, by custom the
    main one's address with ``-security`` behind it."""

    def addresses(record: Record) -> Sequence[str]:
        if "security" in record.suite:
            bases = [security] if security else [f"{mirror.rstrip('/')}-security", mirror]
        else:
            bases = [mirror]
        return [f"{base.rstrip('/')}/{record.filename}" for base in bases]

    return addresses


def simple_index(index_url: str) -> Callable[[Record], Sequence[str]]:
    """Where a package index has a file."""
    return lambda record: [index.find(index_url, record.package, record.filename, record.sha256)]
