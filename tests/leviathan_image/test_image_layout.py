"""The OCI layout: what the specification asks for, and what skopeo makes of it."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.config import Config
from leviathan_image.errors import ImageError
from leviathan_image.layer import Layer
from leviathan_image.layout import make_layout
from leviathan_image.layout_reader import open_layout

MakeLayer = Callable[..., Layer]
MakeLayout = Callable[..., Path]


@pytest.fixture
def layers(layer_of: MakeLayer) -> list[Layer]:
    """Two layers."""
    return [layer_of("debian", {"usr/bin/x": b"x"}), layer_of("torch", {"usr/lib/y": b"y" * 5000})]


def test_the_folder_holds_what_the_specification_names(layers: list[Layer], tmp_path: Path) -> None:
    out = tmp_path / "out"
    digest = make_layout(layers, Config(), "omni/engine:test", out)
    assert sorted(path.name for path in out.iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert json.loads((out / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((out / "index.json").read_text())
    manifest = (out / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert index == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": f"sha256:{hashlib.sha256(manifest).hexdigest()}",
                "size": len(manifest),
                "platform": {"architecture": "amd64", "os": "linux"},
                "annotations": {"org.opencontainers.image.ref.name": "omni/engine:test"},
            }
        ],
    }
    assert len(list((out / "blobs/sha256").iterdir())) == 4
    assert [item["digest"] for item in json.loads(manifest)["layers"]] == [layer.digest for layer in layers]


def test_layers_are_absolute_links_and_the_rest_files(layers: list[Layer], layout_of: MakeLayout) -> None:
    blobs = layout_of("a", layers) / "blobs/sha256"
    for layer in layers:
        link = blobs / layer.digest.removeprefix("sha256:")
        assert link.is_symlink()
        assert link.readlink() == layer.blob.absolute()
    assert sum(not path.is_symlink() for path in blobs.iterdir()) == 2


def test_the_same_layers_give_the_same_digest(layers: list[Layer], tmp_path: Path) -> None:
    def digest(name: str, **fields: str) -> str:
        return make_layout(layers, Config(**fields), "omni/engine:test", tmp_path / name)  # type: ignore[arg-type]

    assert digest("one") == digest("two")
    assert digest("three", user="1") != digest("one-more")


def test_it_opens_again(layers: list[Layer], layout_of: MakeLayout) -> None:
    image = open_layout(layout_of("a", layers))
    assert image.ref == "omni/engine:test"
    assert [(layer.name, layer.blob.digest, layer.diff_id) for layer in image.layers] == [
        (layer.name, layer.digest, layer.diff_id) for layer in layers
    ]


@pytest.mark.parametrize("ref", ["", "/a", "a b", "a::b", "ä", "a/", "-a"])
def test_a_name_that_the_specification_forbids_is_refused(layers: list[Layer], tmp_path: Path, ref: str) -> None:
    with pytest.raises(ImageError, match="image name"):
        make_layout(layers, Config(), ref, tmp_path / "out")


@pytest.mark.parametrize("ref", ["latest", "omni/engine:leviathan-standard", "192.168.3.10:5000/omni/engine:v1.0--2"])
def test_a_good_name_is_taken(layers: list[Layer], tmp_path: Path, ref: str) -> None:
    assert make_layout(layers, Config(), ref, tmp_path / "out").startswith("sha256:")


def test_layers_that_disturb_one_another_are_refused(layer_of: MakeLayer, tmp_path: Path) -> None:
    lower, upper = layer_of("lower", {"lib": "usr/lib"}), layer_of("upper", {"lib/x": b""})
    with pytest.raises(ImageError, match=r"conflict in 1 places: .*/lib"):
        make_layout([lower, upper], Config(), "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_layer_twice_and_no_layer_are_refused(layers: list[Layer], tmp_path: Path) -> None:
    for wrong in ([layers[0], layers[0]], []):
        with pytest.raises(ImageError, match="give each layer once"):
            make_layout(wrong, Config(), "a", tmp_path / "out")


def test_an_output_with_content_is_refused(layers: list[Layer], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ImageError, match="is not empty"):
        make_layout(layers, Config(), "a", tmp_path)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="no skopeo here")
def test_skopeo_reads_it_and_copies_it_through_the_links(
    layers: list[Layer], layout_of: MakeLayout, tmp_path: Path
) -> None:
    out = layout_of("a", layers, {"org.opencontainers.image.version": "1"})
    image = f"oci:{out}:omni/engine:test"
    seen = json.loads(subprocess.run(["skopeo", "inspect", image], capture_output=True, check=True).stdout)
    assert seen["Digest"] == open_layout(out).digest
    assert seen["Layers"] == [layer.digest for layer in layers]
    assert seen["Labels"] == {"org.opencontainers.image.version": "1"}
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    target = tmp_path / "copied"
    subprocess.run(["skopeo", "--policy", str(policy), "copy", "-q", image, f"dir:{target}"], check=True)
    for layer in layers:
        copied = target / layer.digest.removeprefix("sha256:")
        assert not copied.is_symlink()
        assert copied.read_bytes() == layer.blob.read_bytes()
