"""The Go client: where it is, and how it brings the modules that a go.mod names.

It is the ordinary one, with the host's own settings (`go env GOPROXY`): a mirror or a lab's proxy works as it does for
any other use of Go. Reference: "Go Modules Reference", the parts on `go mod vendor` and on authenticating modules.
"""

import io
import os
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from leviathan_fetch import process
from leviathan_fetch.debfile import ar_members
from leviathan_fetch.errors import FetchError
from leviathan_fetch.progress import size

NEEDED = (1, 24)
MINIMUM = ".".join(map(str, NEEDED))
PLACES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")
NO_PROXY = "set GOPROXY to a reachable Go module proxy; only make e2e needs it"
HEARTBEAT = 10.0


def version(go: str) -> tuple[int, int]:
    """Major and minor version of a Go client, (0, 0) for one that does not say."""
    done = process.run([go, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}, check=False)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_go() -> str | None:
    """A Go client of this host that is new enough: the one on PATH, or where Go's own archive puts it; None without."""
    for go in (shutil.which("go"), *PLACES):
        if go and process.available(go) and version(go) >= NEEDED:
            return go
    return None


def need_go() -> str:
    """A Go client of this host (see `find_go`). Errors: FetchError when it has none that is new enough."""
    go = find_go()
    if go is None:
        raise FetchError(f"this host has no Go {MINIMUM} or newer", "install one, on PATH or in /usr/local/go")
    return go


def unpack(debs: Sequence[Path], folder: Path) -> str:
    """Unpack Debian's Go packages into `folder`; the client's path. Its programs are linked statically.

    Errors: FetchError when they hold no Go.
    """
    for deb in debs:
        members = ar_members(deb.read_bytes())
        data = next(content for name, content in members.items() if name.startswith("data.tar"))
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tar:
            tar.extractall(folder)
    for go in sorted(folder.glob("usr/lib/go-*/bin/go")):
        return str(go)
    raise FetchError(f"{', '.join(deb.name for deb in debs)} hold no Go client", "make lock")


def environ(state: Path) -> dict[str, str]:
    """What Go is told: a module cache of our own that can be removed, no other toolchain, nothing above its folder."""
    return {
        "GOMODCACHE": str(state / "mod"),
        "GOCACHE": str(state / "cache"),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def vendor(go: str, source: Path, state: Path, say: Callable[[str], None], keep_open: Sequence[int] = ()) -> Path:
    """The folder `vendor` with every package that the program in `source` (go.mod, go.sum, *.go) is compiled from.

    `state` is a folder for Go's cache and a copy of `source`. go.sum pins each module: Go itself refuses another.
    Errors: FetchError; its kind is ``proxy`` when no module proxy is in reach.
    """
    work = state / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    with heartbeat(state / "mod" / "cache" / "download", say):
        argv = [go, "mod", "vendor"]
        done = process.fetching(argv, env=environ(state), cwd=str(work), check=False, keep_open=keep_open)
    if done.status != 0:
        raise failure(done.stderr)
    return work / "vendor"


def failure(words: str) -> FetchError:
    """The error for a failed `go mod vendor`: Go's last line that says something, and a remedy by its kind."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if not line.startswith(("go: downloading", "go: finding"))]
    text = next(
        (line for line in errors if "SECURITY ERROR" in line or "mismatch" in line), (errors or ["nothing"])[-1]
    )
    what = f"Go cannot download the modules of Kubernetes: {text}"
    if re.search(r"SECURITY ERROR|checksum mismatch", words):
        return FetchError(what, "the proxy has another file than go.sum pins: try another GOPROXY", "hash")
    if re.search(r"no space left|disk quota", words):
        return FetchError(what, "free some disk space and run it again", "disk")
    if re.search(
        r"dial tcp|lookup |[Tt]imeout|connection re|TLS handshake|proxyconnect|no such host|50[0234] |GOPROXY", words
    ):
        return FetchError(f"no Go module proxy is reachable: {text}", NO_PROXY, "proxy")
    if re.search(r"\b(403|404|410)\b|unknown revision|not available", words):
        return FetchError(what, "the proxy does not serve this version: try another GOPROXY", "gone")
    return FetchError(what, "run it by hand to see more: go mod vendor")


@contextmanager
def heartbeat(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Say every ten seconds how much has come into `folder`."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(HEARTBEAT):
            say(f"fetch: Go modules: {size(folder_size(folder))} so far")

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def folder_size(folder: Path) -> int:
    """Bytes of all files below `folder`, 0 when there is none; files may go while it counts."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(where) / name).stat().st_size
            except OSError:
                continue
    return total
