"""The Go client for real, on a module proxy that is a folder; and its errors' kinds."""

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from leviathan_fetch.errors import FetchError
from leviathan_fetch.kubernetes import go as go_client

GO = go_client.find_go()
MODULE = "example.test/greet"
needs_go = pytest.mark.skipif(GO is None, reason="this host has no Go 1.24 or newer")


def h1(files: dict[str, bytes]) -> str:
    """Go's hash of a set of files (golang.org/x/mod/sumdb/dirhash, Hash1)."""
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


class Greeting:
    """A proxy folder with one module, and a program that needs it ("GOPROXY protocol" in the Go Modules Reference)."""

    def __init__(self, folder: Path) -> None:
        self.proxy, self.source, self.state = folder / "proxy", folder / "source", folder / "state"
        versions = self.proxy / MODULE / "@v"
        versions.mkdir(parents=True)
        self.source.mkdir()
        mod = f"module {MODULE}\n\ngo 1.24\n".encode()
        files = {
            f"{MODULE}@v1.0.0/greet.go": b"package greet\n\nconst Word = `hello`\n",
            f"{MODULE}@v1.0.0/go.mod": mod,
        }
        with zipfile.ZipFile(versions / "v1.0.0.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        (versions / "v1.0.0.mod").write_bytes(mod)
        (versions / "v1.0.0.info").write_text('{"Version": "v1.0.0"}', encoding="utf-8")
        self.sums = [f"{MODULE} v1.0.0 {h1(files)}", f"{MODULE} v1.0.0/go.mod {h1({'go.mod': mod})}"]
        self.write("v1.0.0", self.sums)
        (self.source / "main.go").write_text(
            f'package main\n\nimport "{MODULE}"\n\nfunc main() {{ println(greet.Word) }}\n', encoding="utf-8"
        )

    def write(self, version: str, sums: list[str]) -> None:
        """go.mod and go.sum that want `version` and pin `sums`."""
        text = f"module program\n\ngo 1.24\n\nrequire {MODULE} {version}\n"
        (self.source / "go.mod").write_text(text, encoding="utf-8")
        (self.source / "go.sum").write_text("".join(f"{line}\n" for line in sums), encoding="utf-8")

    def vendor(self) -> Path:
        """Have Go bring the module."""
        return go_client.vendor(str(GO), self.source, self.state, lambda _: None)


@pytest.fixture
def greeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Greeting:
    found = Greeting(tmp_path)
    monkeypatch.setenv("GOPROXY", found.proxy.as_uri())
    monkeypatch.setenv("GONOSUMDB", "example.test")
    return found


@needs_go
def test_modules_are_brought_into_vendor(greeting: Greeting) -> None:
    folder = greeting.vendor()
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        f"{MODULE}/greet.go",
        "modules.txt",
    ]
    assert not (greeting.source / "vendor").exists()
    assert greeting.vendor() == folder  # again, over what is there


@needs_go
def test_another_file_than_go_sum_pins_is_refused(greeting: Greeting) -> None:
    greeting.write("v1.0.0", [greeting.sums[0].replace("h1:", "h1:AAAA")[: len(greeting.sums[0])], greeting.sums[1]])
    with pytest.raises(FetchError, match=r"mismatch|SECURITY ERROR") as caught:
        greeting.vendor()
    assert caught.value.kind == "hash"


@needs_go
def test_a_version_that_the_proxy_lacks_is_gone(greeting: Greeting) -> None:
    greeting.write("v1.0.1", [line.replace("v1.0.0", "v1.0.1") for line in greeting.sums])
    with pytest.raises(FetchError, match=r"v1\.0\.1"):
        greeting.vendor()


@needs_go
@pytest.mark.parametrize("proxy", ["off", "http://127.0.0.1:9"])
def test_no_proxy_in_reach_is_said(greeting: Greeting, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("GOPROXY", proxy)
    with pytest.raises(FetchError, match="no Go module proxy is reachable") as caught:
        greeting.vendor()
    assert caught.value.kind == "proxy"
    assert "GOPROXY" in caught.value.remedy


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (
            "go: a@v1: reading .../v1.zip: 403 Forbidden\n\tserver response: This module version is not available.",
            "gone",
        ),
        ("go: a@v1: reading .../v1.mod: 404 Not Found", "gone"),
        ("verifying a@v1: checksum mismatch\n\tdownloaded: h1:x\n\tgo.sum: h1:y\n\nSECURITY ERROR\nThis means", "hash"),
        ('go: a@v1: Get ".../v1.mod": dial tcp: lookup proxy: no such host', "proxy"),
        ('go: a@v1: Get ".../v1.mod": dial tcp 127.0.0.1:9: connect: connection refused', "proxy"),
        ("go: a@v1: module lookup disabled by GOPROXY=off", "proxy"),
        ("write /x: no space left on device", "disk"),
        ("go: main.go:1:1: expected 'package'", "other"),
        ("", "other"),
    ],
)
def test_the_kinds_of_errors(words: str, kind: str) -> None:
    error = go_client.failure("go: downloading a v1\n" + words)
    assert error.kind == kind
    assert "downloading" not in error.line()
    assert "\n" not in error.line()


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """A Debian package with `files`."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    body = data.getvalue()
    header = f"{'data.tar.xz':<16}{'0':<12}{'0':<6}{'0':<6}{'100644':<8}{len(body):<10}`\n".encode()
    path.write_bytes(b"!<arch>\n" + header + body + b"\n" * (len(body) % 2))
    return path


def test_debians_go_is_unpacked(tmp_path: Path) -> None:
    program = b"#!/bin/sh\necho go1.24.9\n"
    packages = [
        deb(tmp_path / "src.deb", {"usr/share/go-1.24/VERSION": b"1.24"}),
        deb(tmp_path / "go.deb", {"usr/lib/go-1.24/bin/go": program}),
    ]
    go = go_client.unpack(packages, tmp_path / "toolchain")
    assert go_client.version(go) == (1, 24)
    assert (tmp_path / "toolchain/usr/share/go-1.24/VERSION").is_file()
    with pytest.raises(FetchError, match=r"src\.deb hold no Go client"):
        go_client.unpack(packages[:1], tmp_path / "other")


def test_how_much_has_come(tmp_path: Path) -> None:
    assert go_client.folder_size(tmp_path / "none") == 0
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 7)
    assert go_client.folder_size(tmp_path) == 7
