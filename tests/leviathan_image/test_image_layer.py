"""The layer step: what it writes, that it writes the same twice, and that a failure leaves nothing."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.layer import BIG, MEDIA_TYPE, Layer, make_layer, read_layer
from leviathan_image.modes import Mode
from leviathan_image.tarcheck import check_tar
from leviathan_image.zstdpipe import Compression, decompressed

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here")

MakeTree = Callable[..., Path]
MakeLayer = Callable[..., Layer]
_CONTENT = {"usr/bin/x": b"1" * 1000, "usr/lib/y": b"2", "lib": "usr/lib"}


def test_what_it_writes(layer_of: MakeLayer) -> None:
    layer = layer_of("debian", _CONTENT, {"tmp": Mode(0o1777, directory=True)})
    assert sorted(path.name for path in layer.folder.iterdir()) == ["blob", "contents.tsv", "layer.json"]
    blob = layer.blob.read_bytes()
    assert (layer.digest, layer.size) == (f"sha256:{hashlib.sha256(blob).hexdigest()}", len(blob))
    with decompressed(layer.blob) as stream:
        tar = check_tar(stream, "debian")
    assert (tar.digest, tar.size, tar.findings) == (layer.diff_id, layer.uncompressed_size, ())
    assert layer.files == 3
    document = json.loads((layer.folder / "layer.json").read_text())
    assert document == {
        "mediaType": MEDIA_TYPE,
        "name": "debian",
        "digest": layer.digest,
        "size": layer.size,
        "diffId": layer.diff_id,
        "uncompressedSize": layer.uncompressed_size,
        "files": 3,
        "comment": "the debian layer",
        "biggest": [],
    }
    assert layer.contents.read_text().splitlines() == [
        "l\t0777\t0\t0\t0\tlib\tusr/lib",
        "d\t1777\t0\t0\t0\ttmp\t",
        "d\t0755\t0\t0\t0\tusr\t",
        "d\t0755\t0\t0\t0\tusr/bin\t",
        "f\t0755\t0\t0\t1000\tusr/bin/x\t",
        "d\t0755\t0\t0\t0\tusr/lib\t",
        "f\t0644\t0\t0\t1\tusr/lib/y\t",
    ]


def test_it_reads_back_what_it_wrote(layer_of: MakeLayer) -> None:
    layer = layer_of("debian", _CONTENT)
    assert read_layer(layer.folder) == layer


def test_twice_is_the_same(layer_of: MakeLayer) -> None:
    one, two = layer_of("debian", _CONTENT, into="one"), layer_of("debian", _CONTENT, into="two")
    assert one.blob.read_bytes() == two.blob.read_bytes()
    other = layer_of("debian", {**_CONTENT, "usr/lib/y": b"3"}, into="other")
    assert other.digest != one.digest


def test_big_files_are_listed(tmp_path: Path, make_tree: MakeTree) -> None:
    tree = make_tree("a", {"small": b""})
    for name, size in (("exactly", BIG), ("over", BIG + 1)):
        with (tree / name).open("wb") as file:
            file.truncate(size)
    layer = make_layer("a", [tree], tmp_path / "out", {}, Compression(1))
    assert layer.biggest == (("/over", BIG + 1),)
    assert read_layer(layer.folder).biggest == layer.biggest


def test_an_output_with_content_is_refused(tmp_path: Path, make_tree: MakeTree) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("precious")
    with pytest.raises(ImageError, match="is not empty"):
        make_layer("a", [make_tree("a", _CONTENT)], out, {}, Compression(1))
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_failure_leaves_no_file(tmp_path: Path, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, out = make_tree("a", _CONTENT), tmp_path / "out"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="the program zstd is not on PATH"):
        make_layer("a", [tree], out, {}, Compression(1))
    assert list(out.iterdir()) == []
    monkeypatch.undo()
    assert make_layer("a", [tree], out, {}, Compression(1)).blob.is_file()


def test_a_zstd_that_fails_leaves_no_file(tmp_path: Path, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, out = make_tree("a", {"x": bytes(1 << 20)}), tmp_path / "out"
    program = tmp_path / "zstd"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ImageError, match=r"zstd (failed with status 3|ended before its input did)"):
        make_layer("a", [tree], out, {}, Compression(1))
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mediaType": "application/x-tar"}, "media type 'application/x-tar'"),
        ({"digest": None}, "lacks 'digest'"),
        ({"extra": 1}, "unknown key extra"),
    ],
)
def test_a_foreign_layer_json_is_refused(layer_of: MakeLayer, change: dict[str, object], named: str) -> None:
    path = layer_of("debian", _CONTENT).folder / "layer.json"
    document = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))
    with pytest.raises(ImageError) as caught:
        read_layer(path.parent)
    assert named in caught.value.line()
