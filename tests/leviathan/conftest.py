"""Fixtures of the deploy tool's tests."""

import difflib
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_support import QUICK
from fakes.replay_api import ReplayApi, replay
from push_support import MIB, Layout, make_layout

from leviathan.cluster.client import Cluster, connect
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.progress import Meter
from self_signed import self_signed


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no variable of the user's, reaches a test."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in (
            "DOCKER_CONFIG",
            "REGISTRY_AUTH_FILE",
            "XDG_RUNTIME_DIR",
            "LEVIATHAN_SITE",
            "LEVIATHAN_MANIFESTS",
        ):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _hears_hangup() -> None:
    """Under nohup SIGHUP is ignored, and by every process that a test starts too."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, made for this run; its key is next to it as `key.pem`."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = self_signed("leviathan test", "127.0.0.1", authority=True)
    path = folder / "ca.pem"
    path.write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    return path


@pytest.fixture(scope="session")
def server_tls(ca_file: Path) -> ssl.SSLContext:
    """TLS for a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, ca_file.with_name("key.pem"))
    return context


@pytest.fixture
def api() -> Iterator[ReplayApi]:
    """An API server on loopback without recordings."""
    with replay() as server:
        yield server


@pytest.fixture
def site() -> Site:
    """The default site."""
    return load(None, environ={}, settings=(), named={}).site


@pytest.fixture
def site_with_digest() -> Site:
    """The default site with an image, for manifests."""
    return load(None, environ={}, settings=("image.digest=sha256:" + "1" * 64,), named={}).site


@pytest.fixture
def cluster(api: ReplayApi, site: Site, tmp_path: Path) -> Cluster:
    """A client for it that is not patient."""
    found = connect(site, {"KUBECONFIG": str(api.kubeconfig(tmp_path))})
    found.transport.patience = QUICK
    return found


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with `goldens/NAME`; with LEVIATHAN_ACCEPT=1 write it there, which fails the test all the same."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).with_name("goldens") / name
        accept = "LEVIATHAN_ACCEPT=1 python -m pytest tests/leviathan"
        if os.environ.get("LEVIATHAN_ACCEPT") == "1" and (not path.exists() or path.read_text() != text):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            pytest.fail(f"{name} accepted: read the change, commit it, and run without LEVIATHAN_ACCEPT")
        assert path.exists(), f"no golden {name}; to accept what there is: {accept}"
        expected = path.read_text()
        if text != expected:
            diff = difflib.unified_diff(expected.splitlines(), text.splitlines(), f"goldens/{name}", "now", lineterm="")
            pytest.fail("\n".join([*diff, f"to accept: {accept}"]))

    return compare


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """An image with blobs of 2.5 MiB and 7 bytes, of 3 MiB and of 1000 bytes."""
    return make_layout(tmp_path_factory.mktemp("layout"), (10 * MIB // 4 + 7, 3 * MIB, 1000))


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Meter]]:
    """Every meter of a test; one whose push succeeded shows all bytes as done, not one more or less."""
    seen: list[Meter] = []

    class Seen(Meter):
        def __exit__(self, *how: Any) -> None:
            super().__exit__(*how)
            if how[0] is None:
                seen.append(self)

    monkeypatch.setattr("leviathan.push.push_image.Meter", Seen)
    yield seen
    for meter in seen:
        assert meter.done == meter.total
