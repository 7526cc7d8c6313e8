"""The consumer image's rows: from an image in the store, and where there is none."""

import json
from pathlib import Path

import pytest

from bench import consumer, nix, recorded
from bench.table import NotRun, Row


def layout(folder: Path, size: int) -> Path:
    """An OCI layout of one layer of `size` bytes, as far as the bench reads it."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:a"}]}))
    (blobs / "a").write_text(json.dumps({"layers": [{"digest": f"sha256:{size}", "size": size}]}))
    return folder


def test_size_and_the_time_of_its_own_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, runbooks = layout(tmp_path / "consumer", 3_000_000), layout(tmp_path / "runbook", 2_000_000)
    own = ["/nix/store/a-cuda.drv", "/nix/store/b-image.drv"]
    monkeypatch.setattr(nix, "nix", lambda *_: str(ours))
    monkeypatch.setattr(nix, "image", lambda: runbooks)
    monkeypatch.setattr(nix, "behind_image", lambda image=nix.IMAGE: [*own, "c"] if image == consumer.IMAGE else ["c"])
    monkeypatch.setattr(recorded, "spans", lambda drvs: dict.fromkeys(drvs, 60.0))
    size, time = consumer.measure()
    assert isinstance(size, Row)
    assert isinstance(time, Row)
    assert (size.ours, size.theirs, time.ours) == (3.0, 2.0, 120.0)
    assert "cuda 60.0 s" in time.detail


def test_an_image_that_is_not_there_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nix, "nix", lambda *_: str(tmp_path / "none"))
    for line in consumer.measure():
        assert isinstance(line, NotRun)
        assert line.why == "not in the store: nix build .#leviathan-image-consumer"


def test_one_step_that_is_not_known_is_no_sum() -> None:
    assert isinstance(consumer.time_row({"/nix/store/a-x.drv": 1.0, "/nix/store/b-y.drv": "no log"}), NotRun)
