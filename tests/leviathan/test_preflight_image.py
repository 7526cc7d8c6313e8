"""preflight of the image: its labels, its CPU builds and its GPU code, compared with the labels of the node."""

import json
from pathlib import Path
from typing import Any

import pytest
from preflight_labels import card, labelled, labels, look, no_cluster
from push_support import TAG, Talk, make_layout, make_site

from leviathan.errors import LayoutError
from leviathan.preflight.cards import ARCHS
from leviathan.preflight.check_result import Level
from leviathan.preflight.facts import Facts
from leviathan.preflight.image import MARCH, labels_of
from leviathan.preflight.march import DECIDING
from leviathan.preflight.preflight_phase import CHECKS, ask
from leviathan.registry.layout import load_image
from leviathan.terminal.output import Console


def test_the_images_labels(tmp_path: Path) -> None:
    with_labels = labelled(tmp_path / "a", {MARCH: "znver5 znver4"})
    assert labels_of(load_image(with_labels, TAG)) == {MARCH: "znver5 znver4"}
    assert labels_of(load_image(labelled(tmp_path / "b", None), TAG)) == {}
    broken = load_image(labelled(tmp_path / "c", {}), TAG)
    config = json.loads(broken.manifests[0].body)["config"]["digest"]
    path = next(blob.path for blob in broken.blobs if blob.digest == config)
    path.write_text("{")
    with pytest.raises(LayoutError, match="configuration cannot be read"):
        labels_of(broken)


@pytest.mark.parametrize(
    ("image", "node", "level", "words"),
    [
        ({MARCH: "znver5 x86-64-v3"}, labels("AVX", "AVX2", "FMA3"), Level.OK, "can run x86-64-v3 (znver5 needs"),
        (
            {MARCH: "znver5 x86-64-v3"},
            labels(*DECIDING["sapphirerapids"]),
            Level.WARNING,
            "AVX-512; a build for sapphirerapids would be faster",
        ),
        ({MARCH: "znver5"}, labels("AVX2"), Level.PROBLEM, "cannot run any of the image's CPU builds: znver5 needs"),
        ({MARCH: "znver5"}, {}, Level.WARNING, "unknown: the node has no labels"),
        ({}, labels("AVX2"), Level.WARNING, f"unknown: the image has no label {MARCH}"),
    ],
)
def test_march(image: dict[str, str], node: dict[str, str], level: Level, words: str, tmp_path: Path) -> None:
    site = make_site("127.0.0.1:9", image_layout=str(labelled(tmp_path / "image", image)))

    class Known(Facts):
        def node(self) -> dict[str, Any]:
            return {"metadata": {"labels": node}}

    [found] = ask(CHECKS["march"], Known(site, {}, Console(Talk()), connect=no_cluster))
    assert found.level is level
    assert words in found.text
    assert bool(found.fix) == (level is not Level.OK)
    assert ("nix build .#leviathan-image" in found.fix) == (level is not Level.OK and "unknown" not in words)


RUNBOOK_ARCHS = {ARCHS: "9.0a 10.0 12.0"}
CONSUMER_ARCHS = {ARCHS: "8.6 8.9 12.0"}


@pytest.mark.parametrize(
    ("image", "node", "level", "words"),
    [
        (RUNBOOK_ARCHS, card(12, 0), Level.OK, "the image's kernels for 12.0 run on it"),
        (RUNBOOK_ARCHS, card(9, 0), Level.OK, "for 9.0a run on it"),
        (RUNBOOK_ARCHS, card(10, 3), Level.OK, "for 10.0 run on it"),
        (
            RUNBOOK_ARCHS,
            card(8, 9),
            Level.PROBLEM,
            "compute capability 8.9: the image has kernels only for 9.0a, 10.0,",
        ),
        (RUNBOOK_ARCHS, card(11, 0), Level.PROBLEM, "none of them runs on it"),
        (CONSUMER_ARCHS, card(8, 9), Level.OK, "for 8.9 run on it"),
        (CONSUMER_ARCHS, card(8, 0), Level.PROBLEM, "none of them runs on it"),
        (RUNBOOK_ARCHS, {}, Level.WARNING, "has no label nvidia.com/gpu.compute.major"),
        ({}, card(8, 9), Level.WARNING, "the image has no label leviathan.cuda.archs"),
    ],
)
def test_cards(
    image: dict[str, str],
    node: dict[str, str],
    level: Level,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = make_site("127.0.0.1:9", image_layout=str(labelled(tmp_path / "image", image)))

    class Known(Facts):
        def node(self) -> dict[str, Any]:
            return {"metadata": {"labels": node}}

    [found] = ask(CHECKS["cards"], Known(site, {}, Console(Talk()), connect=no_cluster))
    assert found.level is level
    assert words in found.text
    assert ("leviathan-image-consumer" in found.fix) == (level is Level.PROBLEM)
    old = node | {"nvidia.com/cuda.driver.major": "550"}
    monkeypatch.setattr(Known, "node", lambda _self: {"metadata": {"labels": old}})
    first, *_ = ask(CHECKS["cards"], Known(site, {}, Console(Talk()), connect=no_cluster))
    assert first.level is Level.PROBLEM
    assert "driver 550, but the image's CUDA 12.8 needs 570 or newer" in first.text


# --- image and registry


def test_image(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "image", (1000,))
    [found] = look("image", make_site("127.0.0.1:9", layout), tmp_path)
    assert found.level is Level.OK
    assert layout.digest in found.text
    [found] = look("image", make_site("127.0.0.1:9", image_layout=str(tmp_path / "none")), tmp_path)
    assert found.level is Level.PROBLEM
    assert "nix build .#leviathan-image" in found.fix
    [found] = look("image", make_site("127.0.0.1:9", image_digest=f"sha256:{'1' * 64}"), tmp_path)
    assert found.level is Level.OK
