"""Pulling: a real registry, real blobs, and what containerd would say when something is wrong."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .images import ImageStore
from .reference import parse
from .registry import PullError
from .support import LOGIN, RealRegistry, free_port, real_registry
from .tiny_image import Entry, layer, push

CONFIG = {"Cmd": ["/bin/true"]}
LOWER = {
    "bin/": Entry(),
    "bin/tool": Entry(b"tool", 0o755),
    "gone": Entry(b"x"),
    "kept/": Entry(mode=0o1777, uid=7, gid=8),
    "kept/old": Entry(b"old"),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as one:
        yield one


@pytest.mark.parametrize("compression", ["zstd", "gzip", ""])
def test_tag_and_digest_give_the_same_layers(registry: RealRegistry, tmp_path: Path, compression: str) -> None:
    upper = layer({"new": Entry(compression.encode(), 0o640, uid=65532)}, compression)
    digest = push(registry.host, "a/b", f"t{compression}", [layer(LOWER, compression), upper], CONFIG)
    store = ImageStore(tmp_path)
    by_tag = store.pull(parse(f"{registry.host}/a/b:t{compression}"))
    assert (by_tag.digest, by_tag.config["config"]) == (digest, CONFIG)
    lower, top = store.folders(by_tag)
    assert (lower / "bin/tool").read_bytes() == b"tool"
    assert (top / "new").stat().st_uid == 65532
    assert stat.S_IMODE((top / "new").stat().st_mode) == 0o640
    reference = parse(f"{registry.host}/a/b@{digest}")
    assert store.find(reference) is None
    by_digest = store.pull(reference)
    assert by_digest.chain == by_tag.chain
    assert store.find(reference) == by_digest
    # Another agent over the same folder knows them without the registry.
    assert ImageStore(tmp_path).find(reference) == by_digest
    assert not list((tmp_path / "ingest").iterdir())


def test_a_registry_with_a_login_gives_nothing_to_others(registry: RealRegistry, tmp_path: Path) -> None:
    """Another registry over the same storage, as one with a login is: with the login the same image."""
    digest = push(registry.host, "locked", "one", [layer(LOWER)], CONFIG)
    with real_registry(tmp_path / "locked", storage=registry.storage, login=True) as locked:
        name = parse(f"{locked.host}/locked:one")
        with pytest.raises(PullError, match="authorization failed: no basic auth credentials"):
            ImageStore(tmp_path / "a").pull(name)
        with pytest.raises(PullError, match="authorization failed"):
            ImageStore(tmp_path / "b").pull(name, {locked.host: (LOGIN[0], "wrong")})
        assert ImageStore(tmp_path / "c").pull(name, {locked.host: LOGIN}).digest == digest


def test_only_layers_that_are_missing_are_fetched(registry: RealRegistry, tmp_path: Path) -> None:
    base = layer(LOWER)
    push(registry.host, "shared", "one", [base, layer({"one": Entry(b"1")})], CONFIG)
    push(registry.host, "shared", "two", [base, layer({"two": Entry(b"2")})], CONFIG)
    store = ImageStore(tmp_path)
    first = store.pull(parse(f"{registry.host}/shared:one"))
    before = (store.folders(first)[0]).stat()
    second = store.pull(parse(f"{registry.host}/shared:two"))
    assert first.chain[0] == second.chain[0]
    assert store.folders(second)[0].stat().st_ino == before.st_ino
    assert len(list((tmp_path / "layers").iterdir())) == 3


def test_whiteouts_and_missing_parents(registry: RealRegistry, tmp_path: Path) -> None:
    upper = {".wh.gone": Entry(b""), "kept/.wh..wh..opq": Entry(b""), "kept/new": Entry(b"new"), "made/x": Entry(b"")}
    push(registry.host, "white", "outs", [layer(LOWER), layer(upper)], CONFIG)
    store = ImageStore(tmp_path)
    _lower, top = store.folders(store.pull(parse(f"{registry.host}/white:outs")))
    gone = (top / "gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(top / "kept", "trusted.overlay.opaque") == b"y"
    assert not (top / "kept/.wh..wh..opq").exists()
    kept, made = (top / "kept").stat(), (top / "made").stat()
    assert (stat.S_IMODE(kept.st_mode), kept.st_uid, kept.st_gid) == (0o1777, 7, 8)
    assert (stat.S_IMODE(made.st_mode), made.st_uid) == (0o755, 0)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"../../escape": Entry(b"x")}, "leaves the layer"),
        ({"a": Entry(link="../../../../etc/passwd", hard=True)}, "leaves the layer"),
        ({"a": Entry(link="b"), "b": Entry(link="a"), "a/x": Entry(b"")}, "symbolic links"),
    ],
)
def test_a_layer_that_leaves_its_folder(
    registry: RealRegistry, tmp_path: Path, entries: dict[str, Entry], text: str
) -> None:
    push(registry.host, "bad", "layer", [layer(entries)], CONFIG)
    with pytest.raises(PullError, match=f"failed to extract layer sha256:.*{text}"):
        ImageStore(tmp_path).pull(parse(f"{registry.host}/bad:layer"))
    assert not list((tmp_path / "layers").iterdir())
    assert not list((tmp_path / "ingest").iterdir())


def test_links_lead_within_the_layer(registry: RealRegistry, tmp_path: Path) -> None:
    entries = {
        "usr/lib/": Entry(),
        "lib": Entry(link="/usr/lib"),
        "lib/a.so": Entry(b"a"),
        "b.so": Entry(link="lib/a.so", hard=True),
        "up": Entry(link="../../../../tmp"),
        "up/inside": Entry(b"still inside"),
    }
    push(registry.host, "links", "t", [layer(entries)], CONFIG)
    store = ImageStore(tmp_path)
    (only,) = store.folders(store.pull(parse(f"{registry.host}/links:t")))
    assert (only / "usr/lib/a.so").read_bytes() == b"a"
    assert (only / "b.so").stat().st_ino == (only / "usr/lib/a.so").stat().st_ino
    assert (only / "tmp/inside").read_bytes() == b"still inside"


def test_a_missing_tag_and_a_missing_digest(registry: RealRegistry, tmp_path: Path) -> None:
    store, name = ImageStore(tmp_path), f"{registry.host}/no/such:tag"
    text = f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": {name}: not found'
    with pytest.raises(PullError) as caught:
        store.pull(parse(name))
    assert str(caught.value) == f"rpc error: code = NotFound desc = {text}"
    with pytest.raises(PullError, match=r"code = NotFound .*: not found"):
        store.pull(parse(f"{registry.host}/no/such@sha256:{'0' * 64}"))


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    port = free_port()
    name = f"127.0.0.1:{port}/x:t"
    url = f"http://127.0.0.1:{port}/v2/x/manifests/t"
    with pytest.raises(PullError) as caught:
        ImageStore(tmp_path).pull(parse(name))
    assert str(caught.value) == (
        f'rpc error: code = Unknown desc = failed to pull and unpack image "{name}": failed to resolve reference '
        f'"{name}": failed to do request: Head "{url}": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )


def test_a_registry_without_tls_that_nobody_declared(registry: RealRegistry, tmp_path: Path) -> None:
    """As on a node whose container runtime was not told about the plain registry. Loopback is always plain."""
    host = registry.host.replace("127.0.0.1", socket.gethostbyname("127.0.0.2"))
    listener = socket.create_server(("127.0.0.2", int(host.rpartition(":")[2])))

    def serve() -> None:
        connection, _peer = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    with listener, pytest.raises(PullError, match="http: server gave HTTP response to HTTPS client"):
        ImageStore(tmp_path).pull(parse(f"{host}/x:t"))


@pytest.mark.parametrize(("damage", "text"), [("flip", "unexpected commit digest"), ("cut", "unexpected commit size")])
def test_a_damaged_blob_is_not_unpacked(registry: RealRegistry, tmp_path: Path, damage: str, text: str) -> None:
    blob = layer({"data": Entry(os.urandom(5000) + damage.encode())})
    push(registry.host, "damaged", damage, [blob], CONFIG)
    path = registry.blob_file(blob.digest)
    whole = path.read_bytes()
    store, reference = ImageStore(tmp_path), parse(f"{registry.host}/damaged:{damage}")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage == "flip" else whole[:-7])
    with pytest.raises(PullError, match=f"failed commit on ref .*{text}"):
        store.pull(reference)
    assert not list((tmp_path / "layers").iterdir())
    path.write_bytes(whole)
    assert len(store.folders(store.pull(reference))) == 1


def test_a_wrong_diff_id(registry: RealRegistry, tmp_path: Path) -> None:
    good = layer({"a": Entry(b"a")})
    lying = type(good)(good.data, good.media, "sha256:" + "1" * 64)
    push(registry.host, "lying", "t", [lying], CONFIG)
    with pytest.raises(PullError, match="wrong diff id"):
        ImageStore(tmp_path).pull(parse(f"{registry.host}/lying:t"))


@pytest.mark.parametrize("text", ["UPPER/x", "nohost:tag", "127.0.0.1:5000/", "127.0.0.1:5000/a@sha256:12", ""])
def test_references_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="invalid reference format"):
        parse(text)


def test_references() -> None:
    one = parse("192.168.3.10:5000/omni/engine:leviathan-standard")
    assert (one.host, one.repository, one.name) == ("192.168.3.10:5000", "omni/engine", "leviathan-standard")
    both = parse(f"r.example/x:t@sha256:{'a' * 64}")
    assert both.name == both.digest
    assert str(parse("localhost/x")) == "localhost/x:latest"
