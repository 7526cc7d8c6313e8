"""Fixtures of the deploy tool's tests."""

import datetime
import difflib
import ipaddress
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no variable of the user's, reaches a test."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("DOCKER_CONFIG", "LEVIATHAN_SITE", "LEVIATHAN_MANIFESTS"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, made for this run; its key is beside it as `key.pem`."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "leviathan test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "ca.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture(scope="session")
def server_tls(ca_file: Path) -> ssl.SSLContext:
    """TLS for a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, ca_file.with_name("key.pem"))
    return context


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
