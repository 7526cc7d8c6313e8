"""The launcher's own plan: it knows the disk's rate, so the start's estimate stands from the first moment."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from leviathan_engine import prepare
from leviathan_engine.flags import parse
from leviathan_engine.gguf import Model
from leviathan_engine.plan import Plan
from leviathan_engine.reference import q4_k_m

SMI = "#!/bin/sh\necho '0, GPU-aaaa-1, 97887, NVIDIA RTX PRO 6000'\n"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """DeepSeek-V3's table over one sparse file of its real size."""
    table = q4_k_m()
    size = max(tensor.offset + tensor.nbytes for tensor in table.tensors.values())
    path = tmp_path / "model.gguf"
    path.touch()
    os.truncate(path, size)
    return replace(table, parts=tuple(replace(part, path=path, file_size=size) for part in table.parts))


def plan(model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan | None, str]:
    program = folder / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    said: list[str] = []
    monkeypatch.setattr(prepare, "total_ram", lambda: 512 << 30)
    settings = parse(["--model_path", str(model.parts[0].path)])
    return prepare._plan(settings, model, {}, said.append), "\n".join(said)


def test_the_start_is_estimated_from_the_disk(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = plan(model, tmp_path, monkeypatch)
    assert made is not None
    assert made.start_seconds is not None
    assert made.start_seconds > 0
    assert f"start: about {made.start_seconds:.0f} s" in said
    assert "the disk gives " in said


def test_a_sample_that_is_too_small_leaves_it_unknown(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(model, parts=tuple(replace(part, file_size=1 << 20) for part in model.parts))
    made, said = plan(small, tmp_path, monkeypatch)
    assert made is not None
    assert made.start_seconds is None
    assert "start: unknown without the disk's rate" in said
    assert "the disk gives" not in said
