"""Runs the worker that downloads with the host's pip (see pip_worker)."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from leviathan_fetch import process
from leviathan_fetch.clients import http
from leviathan_fetch.errors import FetchError

WORKER = Path(__file__).with_name("pip_worker.py")
NO_PIP = "apt-get install python3-pip, or give a package index with --index-url URL"
REMEDIES = {
    "gone": "make lock",
    "hash": "make lock, if you trust the index",
    "network": "check the network and pip's settings (pip config list), then run it again",
    "disk": "free some disk space and run it again",
}


@dataclass(frozen=True)
class Task:
    """A file of a project's release; an empty `filename` means the source archive, an empty `sha256` any hash."""

    project: str
    version: str
    filename: str
    sha256: str
    target: str


@dataclass(frozen=True)
class Answer:
    """What became of a task: the file's name, the hash that the index states (or nothing), its size in bytes."""

    target: str
    filename: str
    sha256: str
    size: int


#: Of pip's settings, in its configuration files and PIP_ variables, those that say where packages come from.
WHERE = frozenset(
    {
        *("index-url", "extra-index-url", "find-links", "no-index", "cert", "client-cert", "proxy", "trusted-host"),
        *("timeout", "retries", "keyring-provider"),
    }
)


@cache
def find_python() -> str | None:
    """A Python on this host that has pip: this one, or the first of python3 on PATH and Debian's; None without."""
    for python in dict.fromkeys([sys.executable, shutil.which("python3"), "/usr/bin/python3"]):
        if python and process.available(python) and process.run([python, "-c", "import pip"], check=False).status == 0:
            return python
    return None


#: What pip has read of its files and variables, as JSON. Its own `config list` leaves out the file of PIP_CONFIG_FILE.
READ_SETTINGS = """
import json
from pip._internal.configuration import Configuration
configuration = Configuration(isolated=False)
configuration.load()
found = {}
for name, value in configuration.items():
    found.update(value if isinstance(value, dict) else {name: value})
print(json.dumps(found))
"""


def settings(python: str) -> dict[str, str]:
    """Of the user's pip settings those in `WHERE`; a command's own override `[global]`, and variables override both.

    Errors: FetchError when pip cannot read them.
    """
    done = process.run([python, "-c", READ_SETTINGS], check=False)
    if done.status != 0:
        raise FetchError(f"cannot read pip's settings: {done.tail(1)}", "correct them: pip config debug")
    found = {}
    try:
        values = json.loads(done.stdout)
    except ValueError:
        return {}  # no pip at all: its next call says so
    for section in ("global.", "download.", "install.", ":env:."):
        for name, value in values.items():
            key = name.removeprefix(section)
            if name.startswith(section) and key in WHERE and value:
                found[key] = " ".join(str(value).split())
    return found


def environment(python: str) -> dict[str, str]:
    """Returns variables for a pip that uses the user's indexes, and none of the user's other settings.

    A `user`, `target`, `no-binary`, `constraint` or `require-hashes` of a pip.conf would change what is installed, or
    end it. pip ignores a variable that is empty.
    """
    others = {name: "" for name in os.environ if name.startswith("PIP_")}
    where = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in settings(python).items()}
    return {**others, **where, "PIP_CONFIG_FILE": os.devnull}


def other_index(python: str) -> str:
    """Where the user's pip asks instead of the default index, for a message; empty for the default."""
    named = settings(python)
    words = [
        f"{key} {http.public(named[key])}" for key in ("index-url", "extra-index-url", "find-links") if key in named
    ]
    return ", ".join(words)


def platforms(filenames: Sequence[str]) -> list[str]:
    """The platform tags in the names of wheels (PEP 427: the last part, tags joined by dots), sorted; less ``any``."""
    tags = {tag for name in filenames if name.endswith(".whl") for tag in name[:-4].rsplit("-", 1)[-1].split(".")}
    return sorted(tags - {"any"})


class PipWorker:
    """A running worker; use as a context manager. `threads` downloads run at a time.

    Errors: FetchError when the host has no pip, or a pip that the worker does not know.
    """

    def __init__(self, names: Sequence[str], threads: int, keep_open: Sequence[int] = ()) -> None:
        python = find_python()
        if python is None:
            raise FetchError("this host has no pip", NO_PIP)
        self.talk = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - lives as long as the worker
        self.child = process.CHILDREN.start(
            [python, str(WORKER)],
            env={**os.environ, **environment(python)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.talk,
            pass_fds=tuple(keep_open),
        )
        bounds = {name: getattr(http, name.upper()) for name in ("file", "page", "page_s", "least_rate", "slow_s")}
        self.say({"threads": threads, "platforms": platforms(names), **bounds})

    def __enter__(self) -> "PipWorker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.stdin:
            with suppress(BrokenPipeError):
                self.child.stdin.close()
        process.CHILDREN.end(self.child)
        self.talk.close()

    def say(self, value: dict[str, Any]) -> None:
        """Send one line to the worker."""
        if self.child.stdin is None or self.child.poll() is not None:
            return
        try:
            self.child.stdin.write(json.dumps(value) + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            return  # its last output says why: `receive` reads it

    def submit(self, task: Task) -> None:
        """Ask for a file; its answer comes from `receive` at some time."""
        self.say(asdict(task))

    def receive(self) -> Answer | tuple[str, FetchError]:
        """Wait for the next answer: an `Answer`, or the target and the error of one that failed.

        Errors: FetchError when the worker itself has failed.
        """
        line = self.child.stdout.readline() if self.child.stdout else ""
        if not line:
            self.talk.seek(0)
            words = [text.strip() for text in self.talk.read().splitlines() if text.strip()]
            raise FetchError(f"pip ended early: {words[-1] if words else 'without output'}", NO_PIP)
        value = json.loads(line)
        if "fatal" in value:
            raise FetchError(value["fatal"], NO_PIP)
        if "error" in value:
            return value["target"], FetchError(
                f"pip: {value['error']}", REMEDIES.get(value["kind"], "run it again"), value["kind"]
            )
        return Answer(**value)
