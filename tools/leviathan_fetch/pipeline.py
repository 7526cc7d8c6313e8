"""From the clients' downloads into the store: check every hash, add in batches, count, and stop well.

Threads: one for each client (which has its own), two that hash, one that adds; the calling thread draws progress.
"""

import hashlib
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from leviathan_fetch import seed
from leviathan_fetch.clients.base import Client, Job
from leviathan_fetch.errors import FetchError, InterruptedFetch, from_system
from leviathan_fetch.progress import Progress

HASHERS = 2
BATCH_FILES = 64
BATCH_BYTES = 1 << 30
TICK = 0.2
FATAL = ("disk", "network")
Add = Callable[[Sequence[Path], bool], Sequence[str]]
Work = Sequence[tuple[Client, Sequence[Job]]]


@dataclass
class Outcome:
    """What a fetch did: how many artifacts it added, the bytes that came in, and the errors of those it did not add."""

    added: int = 0
    received: int = 0
    errors: list[FetchError] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """A job has ended: it is added, is to be tried `again`, or failed. Without a job the whole fetch failed."""

    job: Job | None
    error: FetchError | None = None
    again: bool = False


def digest(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """The size of a file in bytes, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Pipeline:
    """One fetch. `add` puts files into the store (see `store.add`) and gives their store paths."""

    def __init__(self, add: Add, progress: Progress) -> None:
        self.add = add
        self.progress = progress
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.to_check: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self.to_add: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self.sizes: dict[Job, int] = {}
        self.before: dict[Job, int] = {}
        self.retried: set[Job] = set()
        self.outcome = Outcome()

    def run(self, work: Work) -> Outcome:
        """Fetches all jobs into the store; a job with a wrong hash is tried a second time, from the start.

        Errors: FetchError if there is no point in continuing: no network, a full disk, a client that does not work.
        """
        self.before = {job: size_of(job.part) for _, jobs in work for job in jobs}
        for target in [*[self.check_all] * HASHERS, self.add_all]:
            self.thread(target)
        while work:
            again = self.one_pass(work)
            work = [(client, [job for job in jobs if job in again]) for client, jobs in work]
            work = [(client, jobs) for client, jobs in work if jobs]
        self.outcome.received = self.received()
        return self.outcome

    def one_pass(self, work: Work) -> set[Job]:
        """Start the clients and see every job to its end; the jobs to try again."""
        left = {job for _, jobs in work for job in jobs}
        again = set()
        for client, jobs in work:
            self.thread(partial(client.fetch, jobs, self.arrived))
        while left:
            coming = (job.record.name for job in left if job not in self.sizes and size_of(job.part))
            doing = next(coming, "adding to the store" if self.sizes else "")
            self.progress.update(self.outcome.added, self.received(), doing)
            try:
                event = self.events.get(timeout=TICK)
            except queue.Empty:
                continue
            if event.error is not None and (event.job is None or event.error.kind in FATAL):
                raise event.error
            if event.job is None:
                raise InterruptedFetch
            left.discard(event.job)
            if event.again:
                again.add(event.job)
            elif event.error is not None:
                self.outcome.errors.append(event.error)
                self.progress.note(f"leviathan: {event.error.line()}")
            else:
                self.outcome.added += 1
        return again

    def received(self) -> int:
        """The bytes that came in so far, less those of earlier fetches."""
        return sum(max(0, self.sizes.get(job) or size_of(job.part) - at) for job, at in self.before.items())

    def thread(self, target: Callable[[], None]) -> None:
        """Run `target` in a thread whose failure fails the fetch."""

        def guarded() -> None:
            try:
                target()
            except FetchError as error:
                self.events.put(Event(None, error))
            except OSError as error:
                self.events.put(Event(None, from_system(error)))
            except InterruptedFetch:
                self.events.put(Event(None))
            except Exception as error:
                what = f"{type(error).__name__} in fetch: {error}"
                self.events.put(Event(None, FetchError(what, "run it with --debug to see where")))
                raise

        threading.Thread(target=guarded, daemon=True).start()

    def arrived(self, job: Job, error: FetchError | None) -> None:
        """What a client says about a job."""
        if error is None:
            self.to_check.put(job)
        else:
            self.events.put(Event(job, error))

    def check_all(self) -> None:
        """Compare each arrived file with its hash, until the end of the process."""
        while True:
            job = self.to_check.get()
            wanted = job.record.sha256
            size = size_of(job.part)
            got = digest(job.part)
            if got == wanted:
                self.sizes[job] = max(0, size - self.before[job])
                self.to_add.put(job)
                continue
            job.part.unlink()
            if job not in self.retried:
                self.retried.add(job)
                self.before[job] = 0
                self.events.put(Event(job, again=True))
                continue
            what = f"{job.record.name}: expected the hash {wanted}, got {got} ({size} bytes)"
            remedy = "run it again; if the error stays, the mirror or the lock is broken: make lock"
            self.events.put(Event(job, FetchError(what, remedy, "hash")))

    def add_all(self) -> None:
        """Add what is checked to the store, in batches, until the end of the process."""
        while True:
            batch = [self.to_add.get()]
            while len(batch) < BATCH_FILES and sum(size_of(job.part) for job in batch) < BATCH_BYTES:
                try:
                    batch.append(self.to_add.get_nowait())
                except queue.Empty:
                    break
            for recursive in (False, True):
                self.add_batch([job for job in batch if (job.record.kind == "seed") == recursive], recursive)

    def add_batch(self, jobs: Sequence[Job], recursive: bool) -> None:
        """Add files of one kind, and compare the store paths with those that the flake expects."""
        named = [(job, path) for job in jobs if (path := self.named(job)) is not None]
        if not named:
            return
        paths = self.add([path for _, path in named], recursive)
        for (job, _), got in zip(named, paths, strict=True):
            shutil.rmtree(job.folder, ignore_errors=True)
            problem = None
            if got != job.record.store:
                what = f"{job.record.name}: expected the store path {job.record.store}, got {got}"
                problem = FetchError(what, "make lock; if the error stays, this is a bug of Leviathan")
            self.events.put(Event(job, problem))

    def named(self, job: Job) -> Path | None:
        """Renames the file (of a seed: the folder) to its store name; returns None after reporting a bad one."""
        path = job.folder / job.record.name
        try:
            if job.record.kind != "seed":
                job.part.replace(path)
                return path
            return seed.unpack(job.part, job.record.member, path)
        except FetchError as error:
            self.events.put(Event(job, error))
        return None
