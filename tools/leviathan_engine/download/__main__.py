"""`python3 -m leviathan_engine.download`: the command of the Job of `leviathan model --download`.

The log ends with a line for each file (name, size and SHA-256), the model's header as `leviathan plan` reads it, and
the text of the site's model.done_marker. HF_TOKEN has the token; the download also uses HTTPS_PROXY, HTTP_PROXY,
NO_PROXY and SSL_CERT_FILE.
"""

import argparse
import base64
import fcntl
import os
import signal
import sys
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from leviathan_engine.errors import EngineError, UsageError
from leviathan_engine.launcher.state_dir import last_words

from .errors import DownloadError, SourceChanged
from .manifest import write_manifest
from .mounting import mount_for_writing
from .retry import Retry
from .source import RemoteFile, hub_files, url_files
from .transfer import Settings, Transfer
from .web import Web, host_of

LOCK = ".leviathan-download.lock"
#: The download fails if the source changes this many times.
CHANGES = 3
LINE = 3000


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Downloads and verifies the model. Returns 0, 2 for a wrong command line, 1 for any other failure."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        flags = _parser().parse_args(argv)
        if bool(flags.repo) == bool(flags.url):
            raise UsageError(
                "expected either --repo or --url", "set either model.repository or model.urls in the site file"
            )
        run(flags, environ, stop)
        return 0
    except EngineError as error:
        reason, code = error.line(), error.exit_code
    last_words(reason, environ)
    sys.stderr.write(f"error: {reason}\n")
    return code


def run(flags: argparse.Namespace, environ: Mapping[str, str], stop: threading.Event) -> None:
    """Runs the whole download. Errors: EngineError."""
    if flags.device:
        mount_for_writing(flags.device, flags.mount_point, flags.filesystem)
    folder: Path = flags.to
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"cannot create {folder}: {error.strerror}", "check that the volume is mounted for writing"
        ) from None
    with _exclusive(folder):
        files, digests = _with_patience(flags, environ, folder, stop)
        header = write_manifest(folder, files, digests)
    for each in files:
        say(f"file: {digests[each.name]} {each.size} {each.name}")
    packed = base64.b64encode(zlib.compress(header.encode(), 9)).decode("ascii")
    for start in range(0, len(packed), LINE):
        say(f"header: {packed[start : start + LINE]}")
    say(flags.done)


def _with_patience(
    flags: argparse.Namespace, environ: Mapping[str, str], folder: Path, stop: threading.Event
) -> tuple[list[RemoteFile], dict[str, str]]:
    """Lists the files and transfers them; starts again with the list if the source changed meanwhile."""
    web = Web(environ.get("HF_TOKEN", "").strip(), host_of(flags.hub), flags.silence_s)
    settings = Settings(flags.connections, flags.chunk_mib << 20, beat_s=flags.beat_s)
    for attempt in range(1, CHANGES + 1):
        retry = Retry(flags.attempts, flags.pause_s, say=say, stop=_linked(stop))
        files = (
            hub_files(web, retry, flags.hub.rstrip("/"), flags.repo, flags.revision, flags.include)
            if flags.repo
            else url_files(web, retry, flags.url)
        )
        try:
            return files, Transfer(files, folder, web, retry, settings, say).run()
        except SourceChanged as change:
            if attempt == CHANGES:
                raise DownloadError(
                    f"the source changed {CHANGES} times in a row: {change}",
                    "choose another source or revision",
                ) from None
            say(f"the source has changed, so its file list is fetched again: {change}")
    raise AssertionError("unreachable")


def _linked(stop: threading.Event) -> threading.Event:
    """Returns an event for one attempt, which is also set when `stop` is set."""
    mine = threading.Event()

    def follow() -> None:
        stop.wait()
        mine.set()

    threading.Thread(target=follow, daemon=True).start()
    return mine


class _exclusive:
    """Holds the folder's lock. Errors: DownloadError if another download holds it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK

    def __enter__(self) -> None:
        try:
            self.handle = self.path.open("w")
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(
                f"{self.path.parent}: another download is writing to this folder", "wait until it ends"
            ) from None
        except OSError as error:
            raise DownloadError(
                f"cannot write {self.path}: {error.strerror}", "check that the volume is mounted for writing"
            ) from None

    def __exit__(self, *_: object) -> None:
        self.handle.close()


def say(text: str) -> None:
    """Writes one line to stdout, and flushes it."""
    sys.stdout.write(f"{' '.join(text.splitlines())}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("leviathan_engine.download", description="Download and verify a GGUF model.")
    add: Callable[..., object] = parser.add_argument
    add("--to", type=Path, required=True, help="the model's folder")
    add("--repo", default="", help="repository on the hub, OWNER/NAME")
    add("--revision", default="main", help="branch, tag or commit")
    add("--include", action="append", help="pattern of the files to download; may be repeated")
    add(
        "--url",
        action="append",
        default=[],
        help="address of a file, with #sha256=DIGEST if the digest is known; may be repeated",
    )
    add("--hub", default="https://huggingface.co", help="address of the hub")
    add("--connections", type=int, default=8)
    add("--chunk_mib", type=int, default=64)
    add(
        "--attempts",
        type=int,
        default=30,
        help="failed attempts in a row, without a new byte, until the download fails",
    )
    add("--pause_s", type=float, default=1.0, help="pause after the first failed attempt; doubled each time, up to 60")
    add("--silence_s", type=float, default=60.0, help="seconds without a new byte until an attempt fails")
    add("--beat_s", type=float, default=10.0, help="seconds between two progress lines")
    add("--done", default="DOWNLOAD COMPLETE", help="last line of a finished download")
    add("--device", type=Path, help="block device to mount for writing before the download")
    add("--mount_point", type=Path, default=Path("/models"))
    add("--filesystem", default="xfs")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a normal exit would wait for a connection that hangs
