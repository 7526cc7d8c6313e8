"""Download files of Python packages with pip's own finder and session; run by a Python that has pip, as a script.

pip's command line has no way to say "this very file, nothing executed, resume where you stopped": `pip download` runs
a source archive's build to learn its name, and starts a broken 900 MB wheel from byte 0. So this asks pip for what it
knows (its settings, indexes, proxies, certificates, credentials) and fetches with pip's session, in parallel, by
Range.

Protocol: one JSON object a line. In: ``{"project", "version", "filename", "sha256", "target"}``; an empty filename
means the source archive of that version. Out, in any order: the same `target` with ``{"filename", "sha256", "size"}``
or ``{"error", "kind"}``. The end of stdin ends the worker at once: no orphan survives its parent.
"""

import sys

del sys.path[0]  # pip must not import this folder's modules

import errno  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import queue  # noqa: E402
import shutil  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import unquote, urlsplit  # noqa: E402

ATTEMPTS = 5
PIECE = 1 << 18


class Refused(Exception):
    """A file that pip cannot download; `kind` as in errors.FetchError."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


class GaveUp(Exception):
    """An answer that is too slow, too long or compressed. Not an OSError, because urllib3 would retry those."""


class Received(threading.local):
    """Counts the bytes of this thread's current request.

    pip reads pages as a whole, and files in its own pieces, so a server that drips could hold it for days: each byte
    comes before the time-out. So every read of a socket is counted: head, page, file, redirect.
    """

    slow_s, least_rate = 0.0, 0
    began: float | None = None
    come = 0
    most = 0
    seconds = float("inf")

    def begin(self, most: int, seconds: float = float("inf")) -> None:
        """Starts a new request with limits of `most` bytes and `seconds`."""
        self.began, self.come, self.most, self.seconds = time.monotonic(), 0, most, seconds

    def check(self, more: int = 0) -> None:
        """Counts `more` bytes. Errors: GaveUp if they are too many, too slow or too late."""
        if self.began is None:
            return
        self.come += more
        took = time.monotonic() - self.began
        if self.come > self.most:
            raise GaveUp(f"the answer is larger than {self.most >> 20} MiB")
        if took > self.seconds or (took > self.slow_s and self.come < took * self.least_rate):
            raise GaveUp(f"received only {self.come} bytes in {took:.0f} s")


RECEIVED = Received()


def count_what_comes(slow_s: float, least_rate: int) -> None:
    """Counts and checks every read of a socket in this process: at least `least_rate` bytes/s after `slow_s`."""
    Received.slow_s, Received.least_rate = slow_s, least_rate
    read = socket.SocketIO.readinto

    def readinto(stream: socket.SocketIO, buffer: Any) -> int | None:
        RECEIVED.check()
        got = read(stream, buffer)
        RECEIVED.check(got or 0)
        return got

    socket.SocketIO.readinto = readinto  # type: ignore[assignment, method-assign]


class Reasons(logging.Handler):
    """Keeps why pip skipped an index page, which it only logs; per thread, since each thread asks for one project."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        if "Could not fetch URL" in str(record.msg):
            self.take().append(record.getMessage())

    def take(self) -> list[str]:
        """The reasons of this thread so far."""
        if not hasattr(self.local, "lines"):
            self.local.lines = []
        lines: list[str] = self.local.lines
        return lines


class Pip:
    """pip's finder and session, set up as `pip download` would for Python 3.11 and the platforms in `platforms`.

    `page` and `file` are how many bytes either has at most, `page_s` how many seconds a page may take.
    """

    def __init__(self, platforms: list[str], *, page: int, page_s: float, file: int) -> None:
        self.page, self.page_s, self.file = page, page_s, file
        options = importlib.import_module("pip._internal.cli.cmdoptions")
        command = importlib.import_module("pip._internal.commands").create_command("download")
        words = ["--no-input", "--no-cache-dir", "--no-deps", "--no-binary=:none:", "--only-binary=:none:", "--pre"]
        words += ["--implementation=cp", "--python-version=3.11", "--abi=cp311"]
        parsed, _ = command.parse_args([*words, *(f"--platform={name}" for name in platforms), "pip"])
        command.enter_context  # noqa: B018 - absent in a pip that this was not written for
        self.context = command.main_context()
        self.context.__enter__()
        self.session = command.get_default_session(parsed)
        self.session.headers["Accept-Encoding"] = "identity"
        self.session.hooks["response"].append(self.refuse_packed)
        self.finder = command._build_package_finder(
            parsed, self.session, target_python=options.make_target_python(parsed)
        )
        self.reasons = Reasons()
        logger = logging.getLogger("pip._internal.index.collector")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self.reasons)
        logger.propagate = False

    @staticmethod
    def refuse_packed(answer: Any, **_: Any) -> None:
        """Refuses a compressed body, which can unpack to a thousand times its size. Errors: GaveUp."""
        packed = answer.headers.get("Content-Encoding", "identity")
        if packed != "identity":
            raise GaveUp(f"the answer is compressed ({packed[:20]!r}), which was not requested")

    def link(self, task: dict[str, str]) -> Any:
        """pip's Link for the file. Errors: Refused when no index has it, or only with another hash, or none answers."""
        self.reasons.take().clear()
        RECEIVED.begin(self.page, self.page_s)
        try:
            known = [item.link for item in self.finder.find_all_candidates(task["project"])]
        except (GaveUp, OSError) as error:
            why = str(error) if isinstance(error, GaveUp) else short(str(error))
            raise Refused(f"no index answered for {named(task)}: {why}", "network") from None
        name = task["filename"]
        if name:
            links = [link for link in known if unquote(link.filename) == name]
        else:
            stems = {f"{project}-{task['version']}" for project in spellings(task["project"])}
            links = [link for link in known if not link.is_wheel and link.filename.removesuffix(".tar.gz") in stems]
        if not links:
            raise self.missing(task, bool(known))
        for link in links:
            if not task["sha256"] or link.hash_name != "sha256" or link.hash == task["sha256"]:
                return link
        raise Refused(f"{name}: expected the hash {task['sha256']}, the index has {links[0].hash}", "hash")

    def missing(self, task: dict[str, str], others: bool) -> Refused:
        """Why there is no link: the index lacks the file, or could not be asked."""
        what = named(task)
        reasons = [line for line in self.reasons.take() if "404" not in line]
        if reasons and not others:
            return Refused(f"no index answered for {what}: {short(reasons[0])}", "network")
        return Refused(f"no index has {what}", "gone")

    def fetch(self, link: Any, target: Path) -> None:
        """Downloads the file at `link` to `target`, and resumes at its end. Errors: Refused, OSError."""
        url = link.url_without_fragment
        if urlsplit(url).scheme == "file":
            shutil.copyfile(link.file_path, target)
            return
        trouble = ""
        for _ in range(ATTEMPTS):
            RECEIVED.begin(self.file + (1 << 20))  # with the heads; the file's own bound is in `attempt`
            try:
                trouble = self.attempt(url, target)
            except GaveUp as error:
                trouble = str(error)
            except OSError as error:  # requests' errors are OSErrors too; they carry no errno
                if error.errno is not None and getattr(error, "request", None) is None:
                    raise
                trouble = short(str(error))
            if not trouble:
                return
        raise Refused(f"cannot download {link.filename} in {ATTEMPTS} attempts: {trouble}", "network")

    def attempt(self, url: str, target: Path) -> str:
        """Makes one request, from the end of `target`; returns what went wrong, "" if the file is complete."""
        have = target.stat().st_size if target.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self.session.get(url, headers=headers, stream=True) as answer:
            if answer.status_code == 416:
                target.unlink()
                return "the server refused to resume the partial file"
            if answer.status_code in (404, 410):
                raise Refused(f"the index links to {Path(urlsplit(url).path).name}, which is not there", "gone")
            if answer.status_code not in (200, 206):
                return f"HTTP status {answer.status_code}"
            have = have if answer.status_code == 206 else 0
            length = answer.headers.get("Content-Length")
            need, room = int(length or 0), shutil.disk_usage(target.parent).free
            if need > room:
                text = f"{target.parent} has {room // 10**6} MB free, but {need // 10**6} MB are needed"
                raise Refused(text, "disk")
            size = have
            with target.open("ab" if have else "wb") as out:
                for piece in answer.iter_content(PIECE):
                    size += out.write(piece)
                    if size > self.file:
                        target.unlink()
                        raise Refused(f"{Path(urlsplit(url).path).name} has more than {self.file} bytes", "hash")
            size = target.stat().st_size
            return "" if length is None or size == have + int(length) else f"cut off at {size} bytes"


def named(task: dict[str, str]) -> str:
    """What a task asks for, in words."""
    return task["filename"] or f"the source archive of {task['project']} {task['version']}"


def short(text: str) -> str:
    """The part of a network error's text that says what is wrong: from the last ``[Errno`` on, or its end."""
    cause = text[text.rfind("[Errno") :] if "[Errno" in text else text[-200:]
    return cause.split(")", 1)[0].strip(" '")


def spellings(project: str) -> set[str]:
    """The spellings under which source archives of `project` are published."""
    return {project, project.replace("-", "_"), project.replace("_", "-"), project.replace("-", "_").lower()}


def serve(pip: Pip, tasks: "queue.Queue[dict[str, str]]", out: threading.Lock) -> None:
    """Work on `tasks` until the process ends, one answer line a task."""
    while True:
        task = tasks.get()
        answer: dict[str, Any] = {"target": task["target"]}
        try:
            link = pip.link(task)
            pip.fetch(link, Path(task["target"]))
            size = Path(task["target"]).stat().st_size
            digest = link.hash if link.hash_name == "sha256" else ""
            answer |= {"filename": unquote(link.filename), "sha256": digest, "size": size}
        except Refused as error:
            answer |= {"error": str(error), "kind": error.kind}
        except Exception as error:  # whatever pip raises is an answer, not the end of the other downloads
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                answer |= {"error": f"no space left while downloading {task['filename']}", "kind": "disk"}
            else:
                answer |= {"error": f"{type(error).__name__}: {error}", "kind": "other"}
        with out:
            print(json.dumps(answer), flush=True)  # noqa: T201


def main() -> None:
    """First line of stdin: ``{"threads", "platforms"}`` and the bounds that http.py names; then tasks."""
    settings = json.loads(sys.stdin.readline())
    count_what_comes(settings["slow_s"], settings["least_rate"])
    try:
        pip = Pip(settings["platforms"], **{name: settings[name] for name in ("page", "page_s", "file")})
    except (ImportError, AttributeError, TypeError) as error:
        version = getattr(importlib.import_module("pip"), "__version__", "unknown")
        print(json.dumps({"fatal": f"pip {version} is not supported by fetch: {error}"}), flush=True)  # noqa: T201
        os._exit(1)
    tasks: queue.Queue[dict[str, str]] = queue.Queue()
    out = threading.Lock()
    for _ in range(settings["threads"]):
        threading.Thread(target=serve, args=(pip, tasks, out), daemon=True).start()
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()
