"""`verify` passes what is whole, and finds every kind of damage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image import jsonfile
from leviathan_image.config import Config
from leviathan_image.layer import Layer, read_layer
from leviathan_image.layout import make_layout
from leviathan_image.verify import verify

MakeLayer = Callable[..., Layer]
MakeLayout = Callable[..., Path]


@pytest.fixture
def layers(layer_of: MakeLayer) -> list[Layer]:
    """Two layers."""
    return [layer_of("debian", {"usr/bin/x": b"x" * 3000}), layer_of("torch", {"usr/lib/y": b"y" * 5000})]


def _verify(layout: Path) -> list[str]:
    findings, _ = verify(layout, lambda _: None)
    return [finding.line() for finding in findings]


def test_a_whole_layout_has_no_finding(layers: list[Layer], layout_of: MakeLayout) -> None:
    said: list[str] = []
    findings, facts = verify(layout_of("a", layers), said.append)
    assert findings == []
    assert len(said) == 2
    assert any("torch" in fact and "2 members" not in fact and "3 members" in fact for fact in facts)


def _own_blob(layout: Path, layer: Layer) -> Path:
    """The layer's blob in the layout, as a file of its own that may be damaged."""
    path = layout / "blobs/sha256" / layer.digest.removeprefix("sha256:")
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    return path


def test_a_changed_byte_is_found(layers: list[Layer], layout_of: MakeLayout) -> None:
    layout = layout_of("a", layers)
    path = _own_blob(layout, layers[1])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert any("torch" in line for line in _verify(layout))


def test_a_cut_blob_is_found(layers: list[Layer], layout_of: MakeLayout) -> None:
    layout = layout_of("a", layers)
    path = _own_blob(layout, layers[1])
    path.write_bytes(path.read_bytes()[:-10])
    assert any("layer: torch" in line for line in _verify(layout))


def test_a_missing_blob_is_found(layers: list[Layer], layout_of: MakeLayout) -> None:
    layout = layout_of("a", layers)
    (layers[0].blob).unlink()
    assert any("layer: debian: its blob cannot be read" in line for line in _verify(layout))


def test_another_layer_in_its_place_is_found(layers: list[Layer], layout_of: MakeLayout) -> None:
    layout = layout_of("a", layers)
    path = _own_blob(layout, layers[1])
    path.write_bytes(layers[0].blob.read_bytes())
    lines = _verify(layout)
    assert any(line.startswith("digest: torch") for line in lines)
    assert any(line.startswith("diff-id: torch") for line in lines)


def test_a_wrong_diff_id_is_found(layers: list[Layer], tmp_path: Path) -> None:
    path = layers[0].folder / "layer.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "diffId": "sha256:" + "0" * 64}))

    make_layout([read_layer(layers[0].folder), layers[1]], Config(), "a", tmp_path / "out")
    (line,) = _verify(tmp_path / "out")
    assert line.startswith("diff-id: debian")


def test_strays_are_found(layers: list[Layer], layout_of: MakeLayout) -> None:
    layout = layout_of("a", layers)
    (layout / "digest").write_text("x")
    (layout / "blobs/sha256" / ("0" * 64)).write_text("x")
    assert len([line for line in _verify(layout) if line.startswith("stray")]) == 2


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_a_missing_document_is_found(layers: list[Layer], layout_of: MakeLayout, name: str) -> None:
    layout = layout_of("a", layers)
    (layout / name).unlink()
    (line,) = _verify(layout)
    assert name in line


def test_documents_that_do_not_fit_their_descriptor_are_found(layers: list[Layer], layout_of: MakeLayout) -> None:
    layout = layout_of("a", layers)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0]["size"] += 1
    (layout / "index.json").write_bytes(jsonfile.canonical(index))
    (line,) = _verify(layout)
    assert "is really sha256:" in line


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda index: index["manifests"].append(index["manifests"][0]), "expected one image, version 1.0.0, got 2"),
        (lambda index: index["manifests"][0].update(digest="md5:00"), "got 'md5:00'"),
        (lambda index: index["manifests"][0].pop("digest"), "not a readable OCI layout"),
        (lambda index: index.update(manifests=None), "not a readable OCI layout"),
    ],
)
def test_a_malformed_index_is_found(
    layers: list[Layer], layout_of: MakeLayout, change: Callable[[dict[str, object]], object], named: str
) -> None:
    layout = layout_of("a", layers)
    index = json.loads((layout / "index.json").read_text())
    change(index)
    (layout / "index.json").write_text(json.dumps(index))
    (line,) = _verify(layout)
    assert named in line
