"""Walls of the second user outside of the site file: logins, kubeconfig, an own CA; and the lists."""

import http.server
import json
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from leviathan.cluster import kubeconfig
from leviathan.cluster.client import Cluster, ClusterError, connect
from leviathan.init.observe import observe
from leviathan.manifests.rendering import render
from leviathan.registry.credentials import auth_files
from leviathan.site.load import load
from leviathan.smoke.endpoint import Endpoint, Unreachable, Wrong

ROOT = Path(__file__).parents[2]
WALLS = Path(__file__).with_name("walls.md")
FAULTS = Path(__file__).with_name("faults.md")
#: Where the list of faults says that nothing is done.
UNTESTED = {"E22", "P9"}
DIGEST = f"sha256:{'1' * 64}"


def test_wall_8_an_object_of_another_kind_is_the_sites_own(tmp_path: Path) -> None:
    """Ingress and NetworkPolicy are keys; a PodDisruptionBudget is a file in manifests.extra."""
    (tmp_path / "pdb.yaml").write_text(
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: one}, spec: {maxUnavailable: 0}}"
    )
    settings = [f"image.digest={DIGEST}", "access.ingress_host=x.example", "access.network_policy=true"]
    done = render(load(settings=[*settings, f"manifests.extra={tmp_path}"]).site, {})
    kinds = {each["kind"] for each in done.objects}
    assert {"Ingress", "NetworkPolicy", "PodDisruptionBudget"} <= kinds


def test_wall_19_init_sees_a_login_of_podman(tmp_path: Path) -> None:
    """On a Debian with podman and no Docker."""
    login = tmp_path / "containers" / "auth.json"
    login.parent.mkdir()
    login.write_text(json.dumps({"auths": {"ghcr.io": {"auth": "bWU6cHc="}}}))
    cluster = cast(Cluster, SimpleNamespace(list=lambda _path: []))
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    assert observe(cluster, auth_files(environ)).logins == ("ghcr.io",)
    assert observe(cluster, auth_files(environ | {"REGISTRY_AUTH_FILE": "/none"})).logins == ()


def test_wall_21_the_kubeconfig_of_k3s_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def words() -> str:
        with pytest.raises(ClusterError) as caught:
            connect(load().site, {"HOME": str(tmp_path)})
        return str(caught.value)

    there, absent = tmp_path / "k3s.yaml", tmp_path / "admin.conf"
    monkeypatch.setattr(kubeconfig, "NODES", (there, absent))
    assert f"set KUBECONFIG to the file (k3s: {there}, kubeadm: {absent}, Talos: talosctl" in words()
    there.touch()
    assert f"fix: export KUBECONFIG={there}" in words()


@pytest.fixture
def behind_own_ca(server_tls: ssl.SSLContext) -> Iterator[str]:
    """An HTTPS server whose authority the system does not know."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = server_tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_wall_22_an_endpoint_behind_an_own_ca_names_the_variable(
    behind_own_ca: str, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not after smoke.reach_s; and the variable helps."""
    with pytest.raises(Wrong, match=r"not trusted \(.*\): set SSL_CERT_FILE to the PEM file of its CA") as caught:
        Endpoint(behind_own_ca, timeout_s=5).get("/health")
    assert not isinstance(caught.value, Unreachable)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    assert Endpoint(behind_own_ca, timeout_s=5).get("/health").status == 200


def test_each_wall_is_listed_with_a_test_that_is_there() -> None:
    """walls.md: an item for each of the 26, which names its tests by file and function."""
    found = items(WALLS)
    assert [number for number, _ in found] == [str(number) for number in range(1, 27)]
    for number, named in found:
        assert names_of_tests(named), f"wall {number} names no test"


def items(path: Path) -> list[tuple[str, str]]:
    """The number of each item of a list of faults or walls, and what it names as its tests."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"^- (\w+): .*\n  - now: .*\n((?:  - test: .*\n)+)", text, re.MULTILINE)


def names_of_tests(named: str) -> list[tuple[str, str]]:
    """The tests that an item names, by file and function; each of them is there."""
    tests: list[tuple[str, str]] = re.findall(r"`([a-z_/0-9]+\.py)::(test_[a-z_0-9]+)`", named)
    for file, function in tests:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"def {function}(" in text, f"tests/{file} has no {function}"
    return tests


def test_each_fault_is_listed_with_a_test_that_is_there() -> None:
    """faults.md: the items of each letter are numbered without a gap; those without a test are few, and known here."""
    found = items(FAULTS)
    counts = {"E": 29, "T": 18, "P": 13, "R": 22}
    assert [number for number, _ in found] == [f"{x}{n}" for x, count in counts.items() for n in range(1, count + 1)]
    for number, named in found:
        expected = number not in UNTESTED
        assert (len(names_of_tests(named)) > 0) == expected, number
        assert expected or named == "  - test: none\n"
