"""`python3 bench_download.py [GIB] [FOLDER]`: the downloader's rate next to what the machine can do, in one run.

Rows, each over the same file from the same loopback server: `curl` to nowhere (the server's rate), `curl` into a file,
sha256sum of that file, `curl` and then sha256sum, and the downloader, which writes, hashes and compares. Then, with
servers of a given rate, `curl` to nowhere and the downloader, and the share of that rate which it has. Not a test:
its figures depend on what else is running. FOLDER (default /dev/shm) takes three times the size.
"""

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROUNDS = 3
#: MB/s of the servers with a rate: 1, 2.5 and more Gbit/s without the headers of TCP.
RATES = (118, 295, 350, 400)
sys.path.insert(0, str(HERE.parents[2] / "tools"))


def timed(*command: str) -> tuple[float, float]:
    """Seconds of the clock and of the CPU. Errors: CalledProcessError."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    took, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Make the file, serve it, measure."""
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else "4") * (1 << 30))
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else "/dev/shm") as temporary:
        folder = Path(temporary)
        source = folder / "model.gguf"
        whole = hashlib.sha256()
        with source.open("wb") as file:
            for _ in range(size >> 24):
                whole.update(piece := os.urandom(1 << 24))
                file.write(piece)
        rows = folder, whole.hexdigest(), source.stat().st_size
        with served(source) as url:
            show(url, *rows)
        for rate in RATES:
            with served(source, str(rate)) as url:
                show_share(url, *rows)


@contextlib.contextmanager
def served(source: Path, *rate: str) -> Iterator[str]:
    """The address of the file on a server of its own."""
    argv = [sys.executable, str(HERE / "file_server.py"), str(source), *rate]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}/model.gguf"
    finally:
        server.terminate()
        server.wait()


def show(url: str, folder: Path, digest: str, size: int) -> None:
    """A line for each row: the best of ROUNDS."""
    copy, ours = folder / "curl.gguf", folder / "ours"
    rows = {
        "curl to nowhere": ("curl", "-sf", "-o", "/dev/null", url),
        "curl into a file": ("curl", "-sf", "-o", str(copy), url),
        "sha256sum": ("sha256sum", str(copy)),
        "curl, then sha256sum": ("sh", "-c", f"rm {copy}; curl -sf -o {copy} {url} && sha256sum {copy}; rm {copy}"),
        "the downloader": (sys.executable, __file__, "--download", url, digest, str(ours), str(size)),
    }
    for name, command in rows.items():
        if name.startswith("curl, "):
            copy.touch()
        seconds, cpu = min(timed(*command) for _ in range(ROUNDS if "then" not in name else 1))
        print(f"{name:22} {size / seconds / 1e6:7.0f} MB/s  {seconds:6.2f} s  CPU {cpu:6.2f} s")  # noqa: T201


def show_share(url: str, folder: Path, digest: str, size: int) -> None:
    """A line: the server's rate by `curl`, the downloader's without the start of Python, and the share."""
    command = (sys.executable, __file__, "--download", url, digest, str(folder / "ours"), str(size))
    curl, ours = [], []
    for _ in range(ROUNDS):
        curl.append(timed("curl", "-sf", "-o", "/dev/null", url)[0])
        ours.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
    theirs, own = size / min(curl) / 1e6, size / min(ours) / 1e6
    print(f"curl to nowhere {theirs:6.1f} MB/s, the downloader {own:6.1f} MB/s, {100 * own / theirs:5.1f} %")  # noqa: T201


def download(url: str, digest: str, folder: str, size: str) -> None:
    """What the Job does, for one file of which size and SHA-256 are known. Prints the seconds."""
    from leviathan_engine.download.retry import Retry  # noqa: PLC0415
    from leviathan_engine.download.source import RemoteFile  # noqa: PLC0415
    from leviathan_engine.download.transfer import Settings, Transfer  # noqa: PLC0415
    from leviathan_engine.download.web import Web  # noqa: PLC0415

    shutil.rmtree(folder, ignore_errors=True)
    file = RemoteFile("model.gguf", url, int(size), digest)
    begun = time.monotonic()
    found = Transfer([file], Path(folder), Web(), Retry(3, 1.0, say=print), Settings()).run()
    print(time.monotonic() - begun)  # noqa: T201
    assert found == {"model.gguf": digest}
    shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--download"]:
        download(*sys.argv[2:])
    else:
        main()
