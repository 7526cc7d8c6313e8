"""Stopping: Ctrl-C, SIGTERM and SIGHUP end each command at once with a word and 130, whatever it waits for."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.fault_registry import Fault, FaultRegistry
from fakes.replay_api import ReplayApi, until
from push_support import MIB, TOOLS, make_layout

from leviathan.terminal.signals import as_ctrl_c, nothing, once
from leviathan.threads import together

#: Seconds in which a command has to be gone, on a machine with nothing else to do.
SOON_S = 1.0
DIGEST = f"sha256:{'1' * 64}"
#: What the script of the entry point `leviathan` in pyproject.toml says, as installers write it.
SCRIPT = "import sys; from leviathan.cli.entry import main; sys.exit(main())"
#: Each command that waits for an API server.
ASKING = [
    ["preflight"],
    ["deploy", "--rollback-on-failure"],
    ["model"],
    ["apply", "--digest", DIGEST],
    ["diff", "--digest", DIGEST],
    ["rollout"],
    ["status"],
    ["logs"],
    ["logs", "--follow"],
    ["smoke"],
    ["rollback"],
    ["delete"],
]


@contextmanager
def mute() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that takes connections and never says a word: its address, and the connections that came."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", taken
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in taken:
                each.close()


def start(
    folder: Path, *arguments: str, before: str = "", entry: tuple[str, ...] = ("-m", "leviathan")
) -> subprocess.Popen[str]:
    """`leviathan`, with a kubeconfig in `folder`; `before` is where Python looks first, `entry` what it runs."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, (before, str(TOOLS)))),
        "HOME": str(folder),
        "KUBECONFIG": str(folder / "kubeconfig"),
    }
    argv = [sys.executable, *entry, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(argv, env=environ, cwd=folder, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def stopped(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> str:
    """Send the signal; what it says on stderr, once it has ended in time with 130."""
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    seconds = time.monotonic() - began
    assert process.returncode == 130, err
    assert seconds <= SOON_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), f"{seconds:.1f} s\n{err}"
    assert "stopped" in err.splitlines()[-1]
    assert "Traceback" not in err
    return err


def kubeconfig(folder: Path, address: str) -> None:
    with_server = ReplayApi()
    with_server.kubeconfig(folder)
    with_server.close()
    path = folder / "kubeconfig"
    path.write_text(path.read_text().replace(with_server.address, f"http://{address}"))


@pytest.mark.parametrize("arguments", ASKING, ids=lambda arguments: " ".join(arguments[:1] + arguments[1:][-1:]))
def test_a_server_that_hangs_is_not_waited_for(arguments: list[str], tmp_path: Path) -> None:
    with mute() as (address, taken):
        kubeconfig(tmp_path, address)
        process = start(tmp_path, *arguments, "--set", "cluster.address=127.0.0.1", "--set", f"registry.host={address}")
        assert until(lambda: taken, 60)
        time.sleep(0.3)
        stopped(process)


@pytest.mark.parametrize("command", ["preflight", "tags"])
def test_a_registry_that_hangs_is_not_waited_for(command: str, tmp_path: Path) -> None:
    with mute() as (address, taken):
        process = start(tmp_path, command, "--set", f"registry.host={address}")
        assert until(lambda: taken, 60)
        stopped(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_are_as_ctrl_c(number: signal.Signals, tmp_path: Path) -> None:
    with mute() as (address, taken):
        kubeconfig(tmp_path, address)
        process = start(tmp_path, "status")
        assert until(lambda: taken, 60)
        stopped(process, number)


def earlier(folder: Path) -> Path:
    """A result file that an earlier run has left."""
    path = folder / "r.json"
    path.write_text('{"ok": true}')
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["preflight", "tags", "push"])
def test_a_stop_is_in_the_result(command: str, number: signal.Signals, tmp_path: Path) -> None:
    layout, result = make_layout(tmp_path / "image", (1000,)), earlier(tmp_path)
    with mute() as (address, taken):
        words = (
            "--set",
            f"registry.host={address}",
            "--set",
            f"image.layout={layout.path}",
            "--set",
            "push.timeout_s=1",
        )
        process = start(tmp_path, command, "--json", "--result-file", "r.json", *words)
        assert until(lambda: taken, 60)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    report = json.loads(out)
    assert report == json.loads(result.read_text())
    assert report["ok"] is False
    assert (report["error"]["what"], report["error"]["exit_code"]) == ("stopped", 130)
    assert "Traceback" not in err


def test_a_kill_leaves_no_earlier_success(tmp_path: Path) -> None:
    result = earlier(tmp_path)
    with mute() as (address, taken):
        process = start(tmp_path, "tags", "--result-file", "r.json", "--set", f"registry.host={address}")
        assert until(lambda: taken, 60)
        process.kill()
        process.communicate(timeout=60)
    report = json.loads(result.read_text())
    assert (report["ok"], report["error"]["what"]) == (False, "not finished")


ENTRIES = pytest.mark.parametrize("entry", [("-m", "leviathan"), ("-c", SCRIPT)], ids=["the module", "the script"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@ENTRIES
def test_a_signal_while_it_is_imported(entry: tuple[str, ...], number: signal.Signals, tmp_path: Path) -> None:
    """On a cold disk that takes seconds: here a module of it does."""
    (tmp_path / "click.py").write_text(f"import pathlib, time\npathlib.Path({str(tmp_path)!r}, 'here').touch()\n")
    with (tmp_path / "click.py").open("a") as module:
        module.write("time.sleep(60)\n")
    result = earlier(tmp_path)
    process = start(tmp_path, "site", "--result-file", "r.json", before=str(tmp_path), entry=entry)
    assert until((tmp_path / "here").exists, 60)
    assert stopped(process, number) == "stopped\n"
    assert not result.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@ENTRIES
def test_a_signal_inside_an_executed_text(entry: tuple[str, ...], number: signal.Signals, tmp_path: Path) -> None:
    """As dataclasses execute one for each class. The interpreter would remember it, and kill itself by SIGINT at its
    own end, whatever status it was given."""
    text = f"import os, time; os.kill(os.getpid(), {int(number)}); time.sleep(60)"
    (tmp_path / "click.py").write_text(f"exec({text!r})\n")
    process = start(tmp_path, "site", before=str(tmp_path), entry=entry)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "stopped\n")


def test_a_signal_that_is_ignored_stays_so() -> None:
    """`nohup leviathan deploy` outlives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with as_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_only_the_first_counts_while_something_is_put_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with once():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        for number in before:
            assert signal.getsignal(number) is nothing
            os.kill(os.getpid(), number)
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_push_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "image", (8 * MIB,))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with FaultRegistry(Fault("PATCH", times=1000, delay_s=0.005)).serve() as registry:
            arguments = ("--registry", registry.host, "--layout", str(layout.path), "--set", "push.chunk_mib=1")
            process = start(tmp_path, "push", *arguments)
            assert until(lambda: sum(map(len, list(registry.uploads.values()))) > MIB, 60)
            os.killpg(process.pid, signal.SIGHUP)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert registry.taken == sum(layout.blobs.values())
    finally:
        signal.signal(signal.SIGHUP, before)


def test_together_keeps_the_order_and_the_bound() -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02 * (5 - item))
        with lock:
            under_way -= 1
        return item * item

    assert together(work, range(5), at_once=3) == [0, 1, 4, 9, 16]
    assert most == 3
    assert together(work, [], at_once=3) == []


def test_together_raises_the_first_error_in_order() -> None:
    def work(item: int) -> None:
        time.sleep(0.05 * (2 - item))
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        together(work, [0, 1], at_once=2)
