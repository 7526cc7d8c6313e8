"""`python3 -m leviathan_engine.download`: what the Job of `leviathan model --download` runs.

The log ends with a line for each file (its name, size and SHA-256), the model's header as `leviathan plan` reads it,
and the text that the site's model.done_marker waits for. The token is HF_TOKEN; HTTPS_PROXY, HTTP_PROXY, NO_PROXY and
SSL_CERT_FILE are heard.
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
#: Times that a source may turn out to be another than was listed.
CHANGES = 3
LINE = 3000


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Download, verify, say so. Returns 0, 2 for a wrong command line, 1 for any other failure."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        flags = _parser().parse_args(argv)
        if bool(flags.repo) == bool(flags.url):
            raise UsageError("give either --repo or --url", "set model.repository or model.urls")
        run(flags, environ, stop)
        return 0
    except EngineError as error:
        reason, code = error.line(), error.exit_code
    last_words(reason, environ)
    sys.stderr.write(f"error: {reason}\n")
    return code


def run(flags: argparse.Namespace, environ: Mapping[str, str], stop: threading.Event) -> None:
    """The whole download. Errors: EngineError."""
    if flags.device:
        mount_for_writing(flags.device, flags.mount_point, flags.filesystem)
    folder: Path = flags.to
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{folder}: {error.strerror}", "see that the volume can be written") from None
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
    """List and transfer; again from the list when the source has changed meanwhile."""
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
                    f"the source is not what it says, {CHANGES} times in a row: {change}",
                    "choose another source or revision",
                ) from None
            say(f"the source has changed, its list is read again: {change}")
    raise AssertionError("unreachable")


def _linked(stop: threading.Event) -> threading.Event:
    """An event of one attempt, that the process's own sets too."""
    mine = threading.Event()

    def follow() -> None:
        stop.wait()
        mine.set()

    threading.Thread(target=follow, daemon=True).start()
    return mine


class _exclusive:
    """Holds the folder's lock. Errors: DownloadError when another download has it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK

    def __enter__(self) -> None:
        try:
            self.handle = self.path.open("w")
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(f"{self.path.parent}: another download is at work", "wait for it") from None
        except OSError as error:
            raise DownloadError(f"{self.path}: {error.strerror}", "see that the volume can be written") from None

    def __exit__(self, *_: object) -> None:
        self.handle.close()


def say(text: str) -> None:
    """One line on stdout, at once."""
    sys.stdout.write(f"{' '.join(text.splitlines())}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("leviathan_engine.download", description="Download a GGUF model, verified.")
    add: Callable[..., object] = parser.add_argument
    add("--to", type=Path, required=True, help="the model's folder")
    add("--repo", default="", help="repository of the hub, OWNER/NAME")
    add("--revision", default="main", help="branch, tag or commit")
    add("--include", action="append", help="pattern of file paths; may be repeated")
    add("--url", action="append", default=[], help="an address, with #sha256=DIGEST where it is known")
    add("--hub", default="https://huggingface.co", help="address of the hub")
    add("--connections", type=int, default=8)
    add("--chunk_mib", type=int, default=64)
    add("--attempts", type=int, default=30, help="in a row without a new byte")
    add("--pause_s", type=float, default=1.0, help="after the first failed attempt; doubled each time, up to 60")
    add("--silence_s", type=float, default=60.0, help="seconds without a byte that end an attempt")
    add("--beat_s", type=float, default=10.0, help="seconds between two lines")
    add("--done", default="DOWNLOAD COMPLETE", help="the last line")
    add("--device", type=Path, help="block device to mount first, for writing")
    add("--mount_point", type=Path, default=Path("/models"))
    add("--filesystem", default="xfs")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a connection that hangs would be waited for
