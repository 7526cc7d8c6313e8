"""TLS of a real front process: files that are renewed while it runs, and a wrong pair."""

import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from front_process import FrontProcess

from leviathan_engine.front.access.tls import TlsFiles, Watch, load, server_context
from self_signed import self_signed


def write_pair(folder: Path, name: str) -> TlsFiles:
    certificate, key = self_signed(name, "127.0.0.1", authority=True)
    files = TlsFiles(folder / "tls.crt", folder / "tls.key")
    for path, text in ((files.key, key), (files.certificate, certificate)):
        (folder / "new").write_bytes(text)
        (folder / "new").rename(path)
    return files


def common_name(url: str) -> str:
    """The name in the certificate that the server shows now."""
    host, port = url.removeprefix("http://").split(":")
    certificate = x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode())
    return str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def test_tls_with_a_certificate_that_is_renewed(tmp_path: Path) -> None:
    files = write_pair(tmp_path, "first")
    front = FrontProcess(
        tmp_path, LEVIATHAN_TLS_CERT_FILE=str(files.certificate), LEVIATHAN_TLS_KEY_FILE=str(files.key)
    )
    try:
        url = front.url.replace("http:", "https:")
        trusting = ssl.create_default_context(cafile=files.certificate)
        assert httpx.get(url + "/health", verify=trusting).status_code == 503
        with pytest.raises(httpx.ConnectError):
            httpx.get(url + "/health")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(front.url + "/health")
        assert common_name(front.url) == "first"
        files.certificate.write_text("half a certificate")
        front.wait(lambda: "stays in use" in front.log())
        assert common_name(front.url) == "first"
        write_pair(tmp_path, "second")
        front.wait(lambda: common_name(front.url) == "second")
    finally:
        front.close()


def test_a_wrong_pair_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    files = write_pair(tmp_path, "first")
    context = server_context(files)
    notes: list[str] = []
    watch = Watch((files.certificate, files.key), lambda: load(context, files), notes.append)
    watch.look()
    assert notes == []
    files.key.write_bytes(self_signed("other", "127.0.0.1")[1])
    watch.look()
    watch.look()
    assert len(notes) == 1
    assert "expected a certificate and its private key" in notes[0]
    write_pair(tmp_path, "second")
    watch.look()
    assert notes[1].endswith("changed, and the new content is in use")
