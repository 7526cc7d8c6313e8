"""Starts the front, prepares, starts the worker, and watches both until one ends or a signal arrives."""

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
# A front that dies is seen at once; this is for one that hangs. A cold disk or a busy node may take long to start it.
FRONT_SECONDS = 60.0
# SIGTERM to exit within 30 s: the front ends after at most 24 s, then the launcher ends the worker.
DRAIN_SECONDS = 26.0
# numpy and tokenizers start threads for the CPUs, and only the thread that gives up privileges loses them.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
END_SECONDS = 1.5
HINTS = {
    signal.SIGKILL: "most likely it ran out of memory: raise resources.limits.memory, or check dmesg on the node",
    signal.SIGILL: "this CPU cannot run this build of the CPU experts: set LEVIATHAN_MARCH to an older one",
    signal.SIGBUS: "the model's files can no longer be read: check the disk with dmesg on the node",
}


class Stop(Exception):
    """SIGTERM or SIGINT was received."""


def listen(host: str, port: int) -> socket.socket:
    """Returns a listening TCP socket; made first, so that clients can connect from the start. Errors: EngineError."""
    try:
        family, kind, number, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as err:
        raise EngineError(f"cannot listen on {host}:{port}: {err.strerror or err}", "choose another --port") from err
    listener.set_inheritable(True)
    return listener


class Launcher:
    """Runs the front and the worker, and the launcher's connection to the front."""

    def __init__(self, settings: Settings, state: State, environ: Mapping[str, str]) -> None:
        """Starts nothing yet."""
        self._settings = settings
        self._state = state
        self._environ = environ
        self._front: subprocess.Popen[bytes] | None = None
        self._engine: subprocess.Popen[bytes] | None = None
        self._link: wire.Link | None = None

    def run(self, listener: socket.socket) -> int:
        """Runs until a signal arrives, then returns 0. Errors: EngineError if the start or the worker fails."""
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
            note(f"the front runs as root: {obstacle}")
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
                    raise EngineError(
                        f"the front (HTTP server) did not start within {FRONT_SECONDS:g} s: {err}",
                        "check the lines above and the load of the node",
                    ) from err
                time.sleep(POLL_SECONDS / 5)

    def _start_engine(self) -> None:
        prepared = self._prepare()
        self._tell(wire.model_message(prepared.model))
        self._phase("starting the engine")
        # KTransformers logs on stdout, which is for results.
        self._engine = subprocess.Popen(prepared.argv, env=prepared.environment, stdout=sys.stderr.fileno())
        if os.geteuid() == 0:
            give_up(keep=(CAP_KILL,))  # everything is mounted; what is left is to end the two processes

    def _prepare(self) -> "Prepared":
        """Prepares in a thread, so that the launcher handles signals while a disk hangs.

        The thread also does the import: numpy takes a good part of the two seconds within which the port has to answer,
        and turns a signal during its import into an ImportError.
        """
        outcome: list[Prepared | BaseException] = []

        def work() -> None:
            try:
                from leviathan_engine.launcher.prepare import prepare  # noqa: PLC0415

                outcome.append(prepare(self._settings, self._state, self._environ, self._phase, note))
            except BaseException as err:
                outcome.append(err)

        os.environ |= ONE_THREAD  # the worker's environment is another
        preparing = threading.Thread(target=work, daemon=True)
        preparing.start()
        while preparing.is_alive():
            self._check()
            time.sleep(POLL_SECONDS / 2)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def _check(self) -> None:
        front = self._front.poll() if self._front else None
        if front is not None:
            raise EngineError(f"the front (HTTP server) ended {ending(front)}", "the lines above say why")
        code = self._engine.poll() if self._engine else None
        if code is not None:
            raise EngineError(self._reason(code))

    def _reason(self, code: int) -> str:
        try:
            said = self._state.reason.read_text(encoding="utf-8").strip()
        except OSError:
            said = ""
        return said or f"the engine ended {ending(code)}"

    def _phase(self, phase: str) -> None:
        self._tell({"kind": "phase", "phase": phase})

    def _tell(self, message: wire.Message) -> None:
        assert self._link is not None
        try:
            self._link.send(message)
        except OSError as err:
            self._check()
            raise EngineError(f"cannot send to the front (HTTP server): {err}", "the lines above say why") from err

    def _drain(self) -> None:
        """Lets the front finish the running requests."""
        note("stopping: new requests are refused, running ones are finished")
        if self._front is not None and self._front.poll() is None:
            self._front.terminate()
            try:
                self._front.wait(DRAIN_SECONDS)
            except subprocess.TimeoutExpired:
                note(f"the front (HTTP server) did not end within {DRAIN_SECONDS:g} s, and is killed")


def end(process: subprocess.Popen[bytes] | None) -> None:
    """Sends SIGTERM, and SIGKILL if the process does not end in time."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ending(code: int) -> str:
    """Describes how a process ended, from its return code as in subprocess, with a hint for known signals."""
    if code >= 0:
        return f"with exit code {code}"
    number = signal.Signals(-code) if -code in set(signal.Signals) else None
    hint = HINTS.get(number, "") if number else ""
    return f"by {number.name if number else f'signal {-code}'}" + (f"; {hint}" if hint else "")


def note(text: str) -> None:
    """Writes one message to the log."""
    sys.stderr.write(f"leviathan: {text}\n")
    sys.stderr.flush()


def environment() -> dict[str, str]:
    """Returns the environment that the child processes start from."""
    return dict(os.environ)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise Stop
