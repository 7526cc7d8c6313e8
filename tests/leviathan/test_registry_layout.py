"""The OCI layout: blobs behind symlinks, and every way in which a layout can be broken."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from push_support import OCI, Layout, make_layout

from leviathan.errors import LayoutError
from leviathan.registry.layout import load_image


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_layout(tmp_path, (1000, 20, 1000))


def edit_index(layout: Layout, change: Callable[[dict[str, Any]], object]) -> None:
    path = layout.path / "index.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def add_blob(layout: Layout, content: object) -> dict[str, Any]:
    data = json.dumps(content).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout.path / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def test_reads_blobs_behind_symlinks(layout: Layout) -> None:
    image = load_image(layout.path, "any tag: there is one image")
    assert {blob.digest: blob.size for blob in image.blobs} == layout.blobs
    assert all(blob.path.is_symlink() for blob in image.blobs)
    assert image.top.digest == layout.digest
    assert image.top.body == layout.bytes_of(layout.digest)
    assert image.size == sum(layout.blobs.values())


def test_same_layer_twice_is_one_blob(tmp_path: Path) -> None:
    layout = make_layout(tmp_path, (100,))
    manifest = json.loads(layout.bytes_of(layout.digest))
    manifest["layers"] *= 2
    entry = {"mediaType": f"{OCI}.manifest.v1+json", **add_blob(layout, manifest)}
    edit_index(layout, lambda index: index.update(manifests=[entry]))
    assert len(load_image(layout.path, "t").blobs) == 2  # the config and the layer


@pytest.mark.parametrize("name", ["two", "omni/engine:two"])
def test_chooses_by_name(name: str, layout: Layout) -> None:
    manifest = json.loads(layout.bytes_of(layout.digest)) | {"annotations": {"which": "two"}}
    entry = {"mediaType": f"{OCI}.manifest.v1+json", **add_blob(layout, manifest)}
    named = entry | {"annotations": {"org.opencontainers.image.ref.name": name}}
    edit_index(layout, lambda index: index["manifests"].append(named))
    assert load_image(layout.path, "two").top.digest == entry["digest"]
    assert load_image(layout.path, "leviathan-standard").top.digest == layout.digest
    with pytest.raises(
        LayoutError, match=f"cannot find exactly one image for the tag three .*2 images: leviathan-standard, {name}"
    ):
        load_image(layout.path, "three")


def test_index_of_several_platforms(layout: Layout) -> None:
    """An index goes after its manifests, and is what the tag names."""
    child = {
        "mediaType": f"{OCI}.manifest.v1+json",
        "digest": layout.digest,
        "size": len(layout.bytes_of(layout.digest)),
    }
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [child]}
    entry = {"mediaType": f"{OCI}.index.v1+json", **add_blob(layout, index)}
    edit_index(layout, lambda content: content.update(manifests=[entry]))
    image = load_image(layout.path, "t")
    assert [each.digest for each in image.manifests] == [layout.digest, entry["digest"]]
    assert image.top.media_type == f"{OCI}.index.v1+json"


def test_no_layout(tmp_path: Path) -> None:
    with pytest.raises(
        LayoutError, match=r"no OCI image layout \(.*/none/oci-layout\): No such file .*fix: .*nix build"
    ) as caught:
        load_image(tmp_path / "none", "t")
    assert caught.value.exit_code == 4


def test_other_version(layout: Layout) -> None:
    (layout.path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    with pytest.raises(LayoutError, match="unknown OCI layout version"):
        load_image(layout.path, "t")


def test_missing_blob_names_the_link(layout: Layout) -> None:
    path = layout.path / "blobs/sha256" / layout.biggest[7:]
    target = path.resolve()
    target.unlink()
    with pytest.raises(LayoutError, match=rf"a blob is missing \({path}\): No such file .*a link to {target}"):
        load_image(layout.path, "t")


def test_wrong_size(layout: Layout) -> None:
    path = (layout.path / "blobs/sha256" / layout.biggest[7:]).resolve()
    path.write_bytes(b"short")
    with pytest.raises(LayoutError, match=r"a blob has a wrong size .*expected 1000 bytes, got 5"):
        load_image(layout.path, "t")


def test_damaged_manifest(layout: Layout) -> None:
    path = (layout.path / "blobs/sha256" / layout.digest[7:]).resolve()
    path.write_bytes(path.read_bytes().replace(b"schemaVersion", b"schemaversion"))
    with pytest.raises(LayoutError, match=r"a manifest is damaged .*it hashes to sha256:"):
        load_image(layout.path, "t")


@pytest.mark.parametrize(
    ("manifests", "words"),
    [
        ([], "lists 0 images: none"),
        ("text", "invalid descriptor"),
        ([{"digest": "sha256:../../etc/passwd", "size": 1}], "invalid descriptor"),
        ([{"digest": f"sha256:{'0' * 64}", "size": -1}], "invalid descriptor"),
        ([{"digest": f"sha256:{'0' * 64}", "size": True}], "invalid descriptor"),
        ([{"digest": f"sha512:{'0' * 128}", "size": 1}], "invalid descriptor"),
        ([None], "invalid descriptor"),
    ],
)
def test_broken_index(manifests: object, words: str, layout: Layout) -> None:
    edit_index(layout, lambda content: content.update(manifests=manifests))
    with pytest.raises(LayoutError, match=words):
        load_image(layout.path, "t")


@pytest.mark.parametrize(
    ("text", "words"), [("{", "not valid JSON"), ("[]", "not a JSON object"), ("{}", "invalid descriptor")]
)
def test_index_that_is_none(text: str, words: str, layout: Layout) -> None:
    (layout.path / "index.json").write_text(text)
    with pytest.raises(LayoutError, match=words):
        load_image(layout.path, "t")


def test_unknown_media_type(layout: Layout) -> None:
    entry = {"mediaType": "text/plain", **add_blob(layout, {"schemaVersion": 2})}
    edit_index(layout, lambda content: content.update(manifests=[entry]))
    with pytest.raises(LayoutError, match=r"unknown kind of manifest .*text/plain"):
        load_image(layout.path, "t")
