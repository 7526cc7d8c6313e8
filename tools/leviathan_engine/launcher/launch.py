"""Starts the front, prepares, starts the engine, and watches both until one ends or a signal comes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING

from leviathan_engine import wire
from leviathan_engine.errors import EngineError
from leviathan_engine.launcher import users
from leviathan_engine.launcher.flags import Settings
from leviathan_engine.launcher.state_dir import State
from leviathan_engine.machine.privileges import CAP_KILL, give_up

if TYPE_CHECKING:
    from leviathan_engine.launcher.prepare import Prepared

POLL_SECONDS = 0.1
FRONT_SECONDS = 20.0
# SIGTERM to exit within 30 s: the front ends by itself after 24 s at most, then the engine is ended.
DRAIN_SECONDS = 26.0
END_SECONDS = 1.5
HINTS = {
    signal.SIGKILL: "most likely memory ran out: raise resources.limits.memory, or look into dmesg",
    signal.SIGILL: "this CPU cannot run that build: set LEVIATHAN_MARCH to an older one",
    signal.SIGBUS: "the model's files cannot be read any more: look at the disk",
}


class Stop(Exception):
    """SIGTERM or SIGINT has come."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket, so that the port answers from the first moment. Errors: EngineError."""
    try:
        family, kind, number, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as err:
        raise EngineError(f"{host}:{port}: cannot listen: {err.strerror or err}", "choose another --port") from err
    listener.set_inheritable(True)
    return listener


class Launcher:
    """The two processes, and what is between them."""

    def __init__(self, settings: Settings, state: State, environ: Mapping[str, str]) -> None:
        """Nothing is started yet."""
        self._settings = settings
        self._state = state
        self._environ = environ
        self._front: subprocess.Popen[bytes] | None = None
        self._engine: subprocess.Popen[bytes] | None = None
        self._link: wire.Link | None = None

    def run(self, listener: socket.socket) -> int:
        """Runs until a signal, which gives 0. Errors: EngineError when the start or the engine fails."""
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _stop)
            self._start_front(listener)
            self._start_engine()
            while True:
                self._check()
                time.sleep(POLL_SECONDS)
        except Stop:
            self._drain()
            return 0
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            end(self._engine)
            end(self._front)

    def _start_front(self, listener: socket.socket) -> None:
        words = ["-m", "leviathan_engine.front", "--fd", str(listener.fileno()), "--socket", str(self._state.socket)]
        obstacle = users.front_obstacle(self._state, self._environ, self._settings.config_path)
        if not obstacle:
            users.open_state(self._state)
            words += ["--user", str(users.FRONT)]
        elif os.geteuid() == 0:
            note(f"the front stays root: {obstacle}")
        self._state.socket.unlink(missing_ok=True)
        environment = dict(self._environ) | {"PYTHONDONTWRITEBYTECODE": "1"}
        self._front = subprocess.Popen([sys.executable, *words], pass_fds=[listener.fileno()], env=environment)
        listener.close()
        deadline = time.monotonic() + FRONT_SECONDS
        while self._link is None:
            self._check()
            try:
                self._link = wire.Link(self._state.socket)
            except OSError as err:
                if time.monotonic() > deadline:
                    raise EngineError(f"the front end does not start within {FRONT_SECONDS:g} s: {err}") from err
                time.sleep(POLL_SECONDS / 5)

    def _start_engine(self) -> None:
        prepared = self._prepare()
        self._tell(wire.model_message(prepared.model))
        self._phase("starting the engine")
        # Upstream talks on stdout, which is for results.
        self._engine = subprocess.Popen(prepared.argv, env=prepared.environment, stdout=sys.stderr.fileno())
        if os.geteuid() == 0:
            give_up(keep=(CAP_KILL,))  # everything is mounted; what is left to do is to end the two

    def _prepare(self) -> "Prepared":
        """Prepares in a thread: a disk that hangs must not keep a signal from being heard.

        The import is the thread's too: numpy takes a good part of the two seconds within which the port has to answer,
        and turns a signal that comes while it is imported into an ImportError.
        """
        outcome: list[Prepared | BaseException] = []

        def work() -> None:
            try:
                from leviathan_engine.launcher.prepare import prepare  # noqa: PLC0415

                outcome.append(prepare(self._settings, self._state, self._environ, self._phase, note))
            except BaseException as err:
                outcome.append(err)

        threading.Thread(target=work, daemon=True).start()
        while not outcome:
            self._check()
            time.sleep(POLL_SECONDS / 2)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def _check(self) -> None:
        front = self._front.poll() if self._front else None
        if front is not None:
            raise EngineError(f"the front end has ended {ending(front)}", "its last lines above say why")
        code = self._engine.poll() if self._engine else None
        if code is not None:
            raise EngineError(self._reason(code))

    def _reason(self, code: int) -> str:
        try:
            said = self._state.reason.read_text(encoding="utf-8").strip()
        except OSError:
            said = ""
        return said or f"the engine has ended {ending(code)}"

    def _phase(self, phase: str) -> None:
        self._tell({"kind": "phase", "phase": phase})

    def _tell(self, message: wire.Message) -> None:
        assert self._link is not None
        try:
            self._link.send(message)
        except OSError as err:
            self._check()
            raise EngineError(f"the front end does not listen: {err}") from err

    def _drain(self) -> None:
        """Lets the front finish what runs."""
        note("stopping: no more requests are taken")
        if self._front is not None and self._front.poll() is None:
            self._front.terminate()
            try:
                self._front.wait(DRAIN_SECONDS)
            except subprocess.TimeoutExpired:
                note("the front end did not end in time")


def end(process: subprocess.Popen[bytes] | None) -> None:
    """TERM, then KILL."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ending(code: int) -> str:
    """How a process ended, by its return code as subprocess has it, with what to do about it."""
    if code >= 0:
        return f"with code {code}"
    number = signal.Signals(-code) if -code in set(signal.Signals) else None
    hint = HINTS.get(number, "") if number else ""
    return f"by {number.name if number else f'signal {-code}'}" + (f": {hint}" if hint else "")


def note(text: str) -> None:
    """One message for the log."""
    sys.stderr.write(f"leviathan: {text}\n")
    sys.stderr.flush()


def environment() -> dict[str, str]:
    """The environment that the children start from."""
    return dict(os.environ)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise Stop
