"""`zstd` as a pipe: what goes in and what comes out is hashed on the way, nothing touches the disk twice."""

import contextlib
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from leviathan_image.errors import ImageError, ToolError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Compression:
    """How a layer is compressed: `level` 1 to 19; `long`, log2 of the match window in bytes (0: the level's own; 27
    is the most that `zstd -d` accepts unasked); `threads`, 0 for one a core.
    """

    level: int
    long: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 19:
            raise ImageError(f"zstd level {self.level} is out of range", "name one from 1 to 19")
        if self.long and not 10 <= self.long <= 27:
            raise ImageError(f"a zstd window of 2^{self.long} bytes is out of range", "name one from 10 to 27, or 0")
        if self.threads < 0:
            raise ImageError(f"{self.threads} threads of zstd", "name 0 (one a core) or more")

    def argv(self) -> list[str]:
        """The command line. `-T` always selects zstd's threaded mode, whose output no number of threads changes."""
        window = [f"--long={self.long}"] if self.long else []
        return ["zstd", "-q", "-c", f"-{self.level}", *window, f"-T{self.threads}"]


class Compressor:
    """Bytes in through `write`, zstd's output into `out`, SHA-256 and size of both sides.

    Arguments: `out`, a binary file open for writing; `compression`. After `finish`, `raw` and `blob` are the hash
    objects and `raw_size` and `blob_size` the bytes of the two sides.
    """

    def __init__(self, out: IO[bytes], compression: Compression) -> None:
        self.raw, self.blob = hashlib.sha256(), hashlib.sha256()
        self.raw_size = self.blob_size = 0
        self._out = out
        self._failure: OSError | None = None
        self._process = start(compression.argv(), subprocess.PIPE)
        self._reader = Thread(target=self._drain, daemon=True)
        self._reader.start()

    def write(self, data: bytes | memoryview) -> None:
        """Feed `data`. Raises ToolError when zstd has ended, OSError when its output could not be written."""
        assert self._process.stdin is not None
        self.raw.update(data)
        self.raw_size += len(data)
        rest = memoryview(data)
        try:
            while rest:  # a process that was stopped and goes on has written a part
                rest = rest[self._process.stdin.write(rest) :]
        except BrokenPipeError:
            self.finish()
            raise ToolError("zstd ended before its input did", "run it by hand and read its message") from None

    def finish(self) -> None:
        """Close zstd's input and wait for the rest of its output. Raises as `write` does."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._reader.join()
        status = self._process.wait()
        if self._failure is not None:
            raise self._failure
        if status:
            raise ToolError(f"zstd failed with status {status}", "its own message is above")

    def abort(self) -> None:
        """End zstd at once and reap it; for the way out of a failure."""
        self._process.kill()
        with contextlib.suppress(ImageError, OSError):
            self.finish()

    def _drain(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        try:
            while data := os.read(descriptor, _CHUNK):
                self.blob.update(data)
                self.blob_size += len(data)
                self._out.write(data)
        except OSError as error:
            self._failure = error
            self._process.kill()


@contextlib.contextmanager
def decompressed(path: Path) -> Iterator[IO[bytes]]:
    """The content of the zstd file at `path` as a stream; raises ToolError at the end when zstd says that it is bad.

    Leaving the context early (a reader that has seen enough) ends zstd and is no error.
    """
    with path.open("rb") as blob:  # as its input: zstd itself passes over symbolic links, and a layout has them
        process = start(["zstd", "-q", "-d", "-c"], blob)
    assert process.stdout is not None
    try:
        yield process.stdout
        if process.stdout.read(1):
            return
        if process.wait():
            raise ToolError(f"{path} is not a complete zstd file: status {process.returncode}", "build the layer again")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def start(argv: Sequence[str], stdin: int | IO[bytes]) -> "subprocess.Popen[bytes]":
    """A child whose output is a pipe; locale C, nothing else from the environment but PATH.

    Arguments: `argv`; `stdin`, a file to read from or `subprocess.PIPE`. Raises ToolError when the program is missing.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        process = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, env=environment, bufsize=0)
    except FileNotFoundError as error:
        raise ToolError(f"the program {argv[0]} is not on PATH", f"install the package that holds {argv[0]}") from error
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # a smaller pipe is slower, not wrong
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _CHUNK)
    return process
