"""The control plane's own small parts, without Kubernetes: certificates, kubeconfigs, processes, command lines."""

import base64
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.control_plane import argv, kubeconfig
from e2e.control_plane.api import Api, healthy, wait
from e2e.control_plane.certificates import Authority, Pair
from e2e.control_plane.errors import ControlPlaneError
from e2e.control_plane.part import Part, started_at
from e2e.control_plane.prepare import ports_of, prepare
from e2e.control_plane.settings import PARTS, Ports, Programs, find_programs, free_ports

OPENSSL = Path(shutil.which("openssl") or "openssl")
PROGRAMS = Programs(Path("/programs"), Path("/programs/etcd"), OPENSSL)
PORTS = Ports(1, 2, 3, 4, 5)


class WhoAreYou(http.server.BaseHTTPRequestHandler):
    """Answers with the subject of the client's certificate."""

    def do_GET(self) -> None:
        told = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        body = json.dumps(told["subject"] if told else None).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def tls_server(authority: Authority, pair: Pair) -> Iterator[int]:
    """A server that asks clients for a certificate of `authority`; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.pair.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = http.server.HTTPServer(("127.0.0.1", 0), WhoAreYou)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_client_is_known_by_name_and_groups(tmp_path: Path) -> None:
    ours, strange = Authority(OPENSSL, tmp_path / "ours"), Authority(OPENSSL, tmp_path / "strange")
    server = ours.issue("server", "server", addresses=["IP:127.0.0.1"])
    client = ours.issue("client", "jane", ["system:masters", "people"])
    root = ours.pair.certificate
    with tls_server(ours, server) as port:
        answer = Api(port, root, client).call("GET", "/")
        names = sorted(tuple(pair) for part in json.loads(answer.body) for pair in part)
        assert names == [
            ("commonName", "jane"),
            ("organizationName", "people"),
            ("organizationName", "system:masters"),
        ]
        assert Api(port, root).call("GET", "/").json() is None
        assert Api(port, root, strange.issue("client", "jane")).call("GET", "/").status == 0
        assert Api(port, strange.pair.certificate, client).call("GET", "/").status == 0
        assert healthy(port, root, "/")


def test_what_is_issued_is_used_again_and_keys_are_private(tmp_path: Path) -> None:
    authority = Authority(OPENSSL, tmp_path)
    first = authority.issue("a", "a").certificate.read_bytes()
    root = authority.pair.certificate.read_bytes()
    again = Authority(OPENSSL, tmp_path)
    assert again.issue("a", "a").certificate.read_bytes() == first
    assert again.pair.certificate.read_bytes() == root
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_openssl_speaks_for_itself(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match="openssl req failed with status 1"):
        Authority(OPENSSL, tmp_path).issue("a", "\0bad".replace("\0", "/=/"))


def test_a_kubeconfig_holds_certificates_or_a_token(tmp_path: Path) -> None:
    authority = Authority(OPENSSL, tmp_path)
    pair = authority.issue("a", "a")
    file = kubeconfig.write(tmp_path / "x", "https://127.0.0.1:1", authority.pair.certificate, pair)
    value = json.loads(file.read_text(encoding="utf-8"))
    user = value["users"][0]["user"]
    assert base64.b64decode(user["client-certificate-data"]) == pair.certificate.read_bytes()
    assert base64.b64decode(user["client-key-data"]) == pair.key.read_bytes()
    assert value["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert file.stat().st_mode & 0o077 == 0
    file = kubeconfig.write(tmp_path / "y", "https://127.0.0.1:1", authority.pair.certificate, "secret")
    assert json.loads(file.read_text(encoding="utf-8"))["users"][0]["user"] == {"token": "secret"}


def test_ports_are_free_and_stay(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    assert ports_of(tmp_path) == ports
    numbers = [ports.etcd, ports.etcd_peer, ports.api, ports.controllers, ports.scheduler]
    assert len(set(numbers)) == 5
    for number in numbers:
        with socket.socket() as mine:
            mine.bind(("127.0.0.1", number))
    assert free_ports() != ports


def test_the_command_lines(tmp_path: Path) -> None:
    files = prepare(tmp_path, PORTS, Authority(OPENSSL, tmp_path / "pki"))
    pki = tmp_path / "pki"
    assert argv.scheduler(PROGRAMS, PORTS, files) == [
        "/programs/kube-scheduler",
        f"--kubeconfig={tmp_path}/kube-scheduler.kubeconfig",
        f"--authentication-kubeconfig={tmp_path}/kube-scheduler.kubeconfig",
        f"--authorization-kubeconfig={tmp_path}/kube-scheduler.kubeconfig",
        "--bind-address=127.0.0.1",
        "--secure-port=5",
        f"--tls-cert-file={pki}/server.crt",
        f"--tls-private-key-file={pki}/server.key",
        "--leader-elect=false",
        "--profiling=false",
    ]
    for line in (
        argv.etcd(PROGRAMS, PORTS, files),
        argv.api_server(PROGRAMS, PORTS, files),
        argv.controller_manager(PROGRAMS, PORTS, files, argv.Times(7, 1)),
    ):
        named = [Path(word.partition("=")[2]) for word in line if f"={tmp_path}" in word]
        assert [path for path in named if path != tmp_path / "etcd" and not path.is_file()] == []
        assert not [word for word in line if "0.0.0.0" in word]
    assert "--node-monitor-grace-period=7s" in line


def test_programs_are_found_or_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match="LEVIATHAN_KUBERNETES is not set"):
        find_programs({})
    for name in (*PARTS, "etcd"):
        (tmp_path / name).touch(mode=0o755)
    environ = {"LEVIATHAN_KUBERNETES": str(tmp_path), "LEVIATHAN_ETCD": str(tmp_path / "etcd")}
    assert find_programs(environ).part("kube-scheduler") == tmp_path / "kube-scheduler"
    (tmp_path / "etcd").unlink()
    with pytest.raises(ControlPlaneError, match="etcd"):
        find_programs(environ)
    (tmp_path / "kube-scheduler").unlink()
    with pytest.raises(ControlPlaneError, match="has no program kube-scheduler"):
        find_programs(environ)


def state(pid: int) -> str:
    """The one letter of a process's state (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def test_a_part_is_halted_and_ended(tmp_path: Path) -> None:
    part = Part("sleeper", ["sleep", "1000"], tmp_path)
    part.start()
    assert started_at(part.pid)
    part.pause()
    wait("sleeper halted", lambda: state(part.pid) == "T", 5)
    part.resume()
    wait("sleeper resumed", lambda: state(part.pid) == "S", 5)
    part.pause()
    begun = time.monotonic()
    part.stop()  # a halted one as well
    assert time.monotonic() - begun < 5
    assert not part.alive
    assert not part.record.exists()
    with pytest.raises(ControlPlaneError, match="sleeper does not run"):
        part.pause()


def test_a_part_that_does_not_end_is_killed(tmp_path: Path) -> None:
    deaf = Part("deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"], tmp_path)
    deaf.start()
    wait("deaf says so", lambda: deaf.last_words() == "deaf", 5)
    deaf.stop(grace=0.3)
    assert not deaf.alive


def test_what_an_earlier_run_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    left = Part("sleeper", ["sleep", "1000"], tmp_path)
    left.start()
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        part = Part("sleeper", ["sleep", "1000"], tmp_path)
        part.start()
        wait("the earlier one ended", lambda: not left.alive, 5)
        part.stop()
        part.record.write_text(f"{stranger.pid} 1\n", encoding="ascii")  # its number, given to another since
        part.start()
        assert stranger.poll() is None
        part.stop()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_part_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match="/nowhere/etcd cannot be run: No such file"):
        Part("etcd", ["/nowhere/etcd"], tmp_path).start()


def test_waiting_ends(tmp_path: Path) -> None:
    assert wait("now", lambda: True, 1) < 1
    with pytest.raises(ControlPlaneError, match="the end of time was not so within 0 s"):
        wait("the end of time", lambda: False, 0.2, pause=0.05)
