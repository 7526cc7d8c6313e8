"""Containers for real: namespaces, overlay, devices, limits, signals, and how they end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from . import cgroup
from .conftest import Bench
from .container import ALL_CAPABILITIES, Bind
from .netns import PodNetwork
from .process import ROOT, StartError
from .support import until


def test_it_is_process_one_in_namespaces_of_its_own(bench: Bench) -> None:
    script = "echo pid $$; hostname; cat /etc/passwd | wc -l; ls /proc | grep -c '^[0-9]'; ls /.host 2>&1; echo $X; pwd"
    before = Path("/proc/self/mountinfo").read_text()
    ending, lines = bench.run("sh", "-c", script, hostname="pod-1", environment={"PATH": "/bin", "X": "é ü"})
    assert (ending.code, ending.signal) == (0, 0)
    assert lines[:3] == ["pid 1", "pod-1", "2"]
    assert int(lines[3]) < 6
    assert "No such file" in lines[4]
    assert lines[5:] == ["é ü", "/"]
    assert Path("/proc/self/mountinfo").read_text() == before


def test_what_it_writes_stays_out_of_the_layer(bench: Bench) -> None:
    before = sorted(p.name for p in bench.layer.iterdir())
    _ending, lines = bench.run("sh", "-c", "echo x >/made && rm -r /www && cat /made")
    assert lines == ["x"]
    assert sorted(p.name for p in bench.layer.iterdir()) == before
    _ending, lines = bench.run("sh", "-c", "ls -d /www /made")
    assert sorted(lines) == ["/www", "ls: /made: No such file or directory"]


def test_a_read_only_root_with_writable_volumes(bench: Bench, tmp_path: Path) -> None:
    volume, fixed, message = tmp_path / "v", tmp_path / "f", tmp_path / "message"
    volume.mkdir()
    fixed.write_text("fixed")
    message.touch()
    binds = (
        Bind(str(volume), "/var/lib/made/deep"),
        Bind(str(fixed), "/etc/fixed", read_only=True),
        Bind(str(message), "/dev/termination-log"),
    )
    script = (
        "touch /x; echo no >/etc/fixed; cat /etc/fixed; echo yes >/var/lib/made/deep/y; echo why >/dev/termination-log"
    )
    ending, lines = bench.run("sh", "-c", script, binds=binds, read_only=True)
    assert ending.code == 0
    assert sorted(lines) == [
        "fixed",
        "sh: can't create /etc/fixed: Read-only file system",
        "touch: /x: Read-only file system",
    ]
    assert (volume / "y").read_text() == "yes\n"
    assert message.read_text() == "why\n"


def test_a_mount_point_behind_a_link_stays_inside(bench: Bench, tmp_path: Path) -> None:
    """A link in the image that leads out of it must not let a volume appear on the host."""
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/out").symlink_to("/etc")
    (tmp_path / "data").mkdir()
    layers = (str(bench.layer), str(tmp_path / "evil"))
    _ending, lines = bench.run(
        "sh", "-c", "mount | grep -c /etc/vol", layers=layers, binds=(Bind(str(tmp_path / "data"), "/out/vol"),)
    )
    assert lines == ["1"]
    assert not Path("/etc/vol").exists()


def test_devices(bench: Bench) -> None:
    script = "ls /dev; test -c /dev/null && test -c /dev/pts/ptmx && touch /dev/shm/x && echo ok"
    _ending, plain = bench.run("sh", "-c", script)
    _ending, privileged = bench.run("sh", "-c", script, privileged=True, capabilities=ALL_CAPABILITIES)
    assert plain[-1] == privileged[-1] == "ok"
    assert "loop-control" not in plain
    assert {"loop-control", "full", "null"} <= set(privileged)
    assert not Path("/dev/shm/x").exists()


def test_capabilities_and_users(bench: Bench) -> None:
    show = (
        "sh",
        "-c",
        "exec 2>&1; id -u; id -g; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | cut -f2;mount -t tmpfs x /tmp",
    )
    _ending, plain = bench.run(*show)
    assert plain[:4] == ["0", "0", "00000000a80425fb", "00000000a80425fb"]
    assert "mount: permission denied (are you root?)" in plain[-1] or "Operation not permitted" in plain[-1]
    _ending, whole = bench.run(*show, privileged=True, capabilities=ALL_CAPABILITIES)
    assert len(whole) == 5
    _ending, user = bench.run(*show, uid=65532, gid=65532, capabilities=0, no_new_privileges=True)
    assert user[:5] == ["65532", "65532", "0" * 16, "0" * 16, "1"]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("nope",), 'exec: "nope": executable file not found in $PATH'),
        (("/nope",), "error during container init: /nope: no such file or directory"),
        (("/etc",), "error during container init: /etc: permission denied"),
    ],
)
def test_a_command_that_is_not_there(bench: Bench, argv: tuple[str, ...], text: str) -> None:
    with pytest.raises(StartError) as caught:
        bench.start(bench.plan(*argv))
    assert text in str(caught.value)


def test_a_volume_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(StartError, match=r"no such file or directory"):
        bench.start(bench.plan("true", binds=(Bind("/no/such/volume", "/v"),)))


@pytest.mark.parametrize(
    ("script", "number", "code"),
    [
        ("exit 7", 0, 7),
        ("trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done", signal.SIGTERM, 0),
        ("echo ready; sleep 1000", signal.SIGKILL, 137),
    ],
)
def test_how_it_ends(bench: Bench, script: str, number: int, code: int) -> None:
    plan = bench.plan("sh", "-c", script)
    process = bench.start(plan)
    if number:
        until(lambda: "ready" in bench.log(plan).read_text(), "the container to be ready")
        process.signal(number)
    ending = until(lambda: process.ending, "the end")
    assert ending is not None
    assert ending.code == code
    process.signal(9)  # to one that is gone: nothing happens


def test_process_one_without_a_handler_hears_no_sigterm(bench: Bench) -> None:
    """Also in Kubernetes: the kernel keeps signals without a handler from a namespace's first process."""
    plan = bench.plan("sleep", "1000")
    process = bench.start(plan)
    process.signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.ending is None


def test_memory_limit_kills_and_is_seen(bench: Bench) -> None:
    said: list[str] = []
    group = cgroup.create(f"test-{os.getpid()}", 20 << 20, 1.5, said.append)
    try:
        if said:
            pytest.skip(f"no memory limit on this machine: {said}")
        binds = tuple(Bind(source, target) for source, target in group.mounts())
        fields: dict[str, Any] = {"groups": tuple(group.join_files()), "cgroup_binds": binds}
        show = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
        _ending, lines = bench.run("sh", "-c", show, **fields)
        assert lines == [str(20 << 20)]
        assert group.oom_kills() == 0
        ending, _lines = bench.run("sh", "-c", "x=x; while :; do x=$x$x; done", **fields)
        assert (ending.code, ending.signal) == (137, 9)
        assert group.oom_kills() == 1
    finally:
        group.remove()
    assert not any(folder.exists() for folder in group.folders.values())


def test_a_pods_network(bench: Bench) -> None:
    """Two pods listen on the same port; each answers at its own address, and nothing shows on the host."""
    networks = [PodNetwork(f"10.244.0.{n}") for n in (2, 3)]
    try:
        for n, network in enumerate(networks):
            page = f"mkdir -p /www && echo pod{n} >/www/index.html && exec httpd -f -p 30000 -h /www"
            bench.start(bench.plan("sh", "-c", page), network.descriptor())
        for n, network in enumerate(networks):

            def ask(network: PodNetwork = network) -> bytes:
                with network.socket() as connection:
                    if connection.connect_ex((network.address, 30000)) != 0:
                        return b""
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    return b"".join(iter(lambda: connection.recv(1000), b""))

            assert f"pod{n}\n".encode() in until(ask, "the pod to answer")
        with socket.socket() as host:
            assert host.connect_ex(("127.0.0.1", 30000)) != 0
            host.settimeout(0.5)
        addresses = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True).stdout
        assert "10.244.0." not in addresses
    finally:
        for network in networks:
            network.close()
    with pytest.raises(OSError, match="closed"):
        networks[0].socket()


def test_when_the_agent_is_killed_the_container_goes_too(bench: Bench) -> None:
    plan = bench.plan("sleep", "1000")
    plan.write(Path(plan.work) / "plan.json")
    code = (
        "import sys, time; from pathlib import Path; from e2e.node.container import Plan\n"
        "from e2e.node.process import Process\n"
        f"plan = Plan.read(Path({plan.work!r}) / 'plan.json')\n"
        f"print(Process(plan, Path({plan.work!r}) / 'log', None, lambda: None).pid, flush=True); time.sleep(1000)"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
    )
    assert agent.stdout is not None
    with agent.stdout:
        pid = int(agent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    agent.kill()
    agent.wait(10)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the container to be gone")
