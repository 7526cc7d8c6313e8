"""Chooses the process in which a chat template is rendered. A template comes with the model, so it is untrusted code.

Jinja's sandbox keeps a template from files and from Python, but not from using all time and memory. A known template
is rendered in this process; any other in a separate process with limits on both, which is killed on a time-out. The
text that a template produces is not checked: it sees every message and decides what the model reads. So the log has its
hash, and `--chat_template` replaces it.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from jinja2 import TemplateError

from leviathan_engine.model.known_templates import KNOWN, digest
from leviathan_engine.model.template_environment import compiled

RENDER_SECONDS = 5.0
# Reading the template may take this many times as long as a rendering.
READ = 4
# Limit for the start of the process: it does not depend on the template, and is slow on a cold disk or a busy machine.
START_SECONDS = 60.0
# After this many time-outs in a row, the template is not tried again for REST_SECONDS.
PATIENCE = 3
REST_SECONDS = 60.0
# Longer templates are refused: DeepSeek's have 3 KB, the largest known ones with tools 20 KB.
MOST_SOURCE = 1 << 20
# Bytes of a rendered text in JSON, and of one piece of it.
MOST_ANSWER = 128 << 20
RECEIVED = 256 << 10


class Rendering(Protocol):
    """Renders the prompt's text from the values."""

    def render(self, values: Mapping[str, Any], /) -> str:
        """Returns the text. Errors: jinja2.TemplateError, TypeError, and others if it is rendered in this process."""


def open_template(source: str) -> tuple[Rendering, frozenset[str]]:
    """Opens the template of this text; returns it and the variables that it reads. Errors: jinja2.TemplateError."""
    if len(source) > MOST_SOURCE:
        raise TemplateError(f"it is too long: {len(source)} characters, at most {MOST_SOURCE}")
    if digest(source) in KNOWN:
        return compiled(source)
    apart = Apart(source)
    return apart, apart.open()


class Apart:
    """A template in a process of its own. Renders one at a time; any thread may call it."""

    def __init__(self, source: str, seconds: float = RENDER_SECONDS) -> None:
        """Starts nothing yet. `seconds` is the time limit of a rendering."""
        self._source = source
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._failures = 0
        self._failed = 0.0
        self._lock = threading.Lock()

    def open(self) -> frozenset[str]:
        """Starts the process, which reads the template; returns its variables. Errors: TemplateError."""
        with self._lock:
            return frozenset(json.loads(self._start()))

    def render(self, values: Mapping[str, Any], /) -> str:
        """Returns the text. Errors: TemplateError or TypeError if the template refuses the values or times out."""
        with self._lock:
            if self._failures >= PATIENCE and time.monotonic() < self._failed + REST_SECONDS:
                raise TemplateError(f"it timed out {PATIENCE} times, so it is not tried again for {REST_SECONDS:g} s")
            if self._process is None:
                self._start()
            text = self._ask(values, self._seconds)
            self._failures = 0
            return text

    def close(self) -> None:
        """Ends the process; the next rendering starts a new one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> str:
        argv = [sys.executable, "-m", "leviathan_engine.model.render_template"]
        # The process gets the path of this package, and nothing else of this process's environment.
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
        if self._line is not None:
            self._line.close()
        self._line, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(argv, stdin=its.fileno(), stdout=its.fileno(), env=environment)
        try:
            self._await_start()
            return self._ask(self._source, READ * self._seconds)
        except (TemplateError, TypeError):
            self.close()
            raise

    def _await_start(self) -> None:
        """Returns when the process is ready to read the template. Errors: TemplateError when it does not come up."""
        try:
            self._exchange(b"", START_SECONDS)
        except OSError as err:
            late = f"did not start within {START_SECONDS:g} s" if isinstance(err, TimeoutError) else "did not start"
            raise TemplateError(f"the process that reads it {late}: is this machine overloaded?") from err

    def _ask(self, what: Any, seconds: float) -> str:
        try:
            answer = self._exchange(json.dumps(what).encode("ascii") + b"\n", seconds)
        except OSError as err:
            self._failures += 1
            self._failed = time.monotonic()
            self.close()
            late = isinstance(err, TimeoutError)
            raise TemplateError(f"it timed out after {seconds:g} s" if late else str(err)) from err
        said = json.loads(answer)
        if "error" in said:
            raise (TypeError if said.get("kind") == "TypeError" else TemplateError)(said["error"])
        return str(said["text"])

    def _exchange(self, line: bytes, seconds: float) -> bytes:
        """Sends a line, or nothing; returns the next line of the process. Errors: TimeoutError, OSError."""
        connection = self._line
        assert connection is not None
        until = time.monotonic() + seconds
        connection.settimeout(seconds)
        connection.sendall(line)
        pieces: list[bytes] = []
        size = 0
        while not pieces or not pieces[-1].endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            piece = connection.recv(RECEIVED)
            size += len(piece)
            if not piece or size > MOST_ANSWER:
                raise OSError(
                    "the process that renders it has ended" if not piece else f"its text exceeds {MOST_ANSWER} bytes"
                )
            pieces.append(piece)
        return b"".join(pieces)
