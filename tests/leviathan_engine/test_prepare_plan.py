"""The launcher's own plan: it knows the disk's rate, so the start's estimate stands from the first moment."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from leviathan_engine.errors import PlanError
from leviathan_engine.gguf import Model
from leviathan_engine.launcher import prepare
from leviathan_engine.launcher.flags import parse
from leviathan_engine.machine.cgroup import Limits
from leviathan_engine.model.reference import q4_k_m
from leviathan_engine.plan import Gpu, Plan

CARD = Gpu(0, 97887 << 20, "NVIDIA RTX PRO 6000")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """DeepSeek-V3's table over one sparse file of its real size."""
    table = q4_k_m()
    size = max(tensor.offset + tensor.nbytes for tensor in table.tensors.values())
    path = tmp_path / "model.gguf"
    path.touch()
    os.truncate(path, size)
    return replace(table, parts=tuple(replace(part, path=path, file_size=size) for part in table.parts))


def plan(model: Model, monkeypatch: pytest.MonkeyPatch, limit: int | None = None) -> tuple[Plan | None, str]:
    """The launcher's plan and what it says, in a container with `limit` bytes of memory on a machine of 512 GiB."""
    said: list[str] = []
    monkeypatch.setattr(prepare, "total_ram", lambda: 512 << 30)
    monkeypatch.setattr(prepare.cgroup, "limits", lambda: Limits(None, limit))
    settings = parse(["--model_path", str(model.parts[0].path)])
    return prepare._plan(settings, model, (CARD,), said.append), "\n".join(said)


def test_the_start_is_estimated_from_the_disk(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = plan(model, monkeypatch)
    assert made is not None
    assert made.start_seconds is not None
    assert made.start_seconds > 0
    assert f"start: about {made.start_seconds:.0f} s" in said
    assert "the model's disk reads " in said


def test_a_sample_that_is_too_small_leaves_it_unknown(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(model, parts=tuple(replace(part, file_size=1 << 20) for part in model.parts))
    made, said = plan(small, monkeypatch)
    assert made is not None
    assert made.start_seconds is None
    assert "start: unknown (no disk rate)" in said
    assert "the model's disk reads" not in said


def test_the_control_groups_memory_limit_is_checked_before_the_load(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """240Gi: a warning. Too little for the process: the end. No limit, or the runbook's 360Gi: nothing is said."""
    made, said = plan(model, monkeypatch, 240 << 30)
    assert made is not None
    assert made.cpu.limit == 240 << 30
    assert "warning: the pod's memory limit of 240.0 GiB is " in said
    assert "set resources.limits.memory to " in said
    assert "warning" not in plan(model, monkeypatch, 360 << 30)[1]
    with pytest.raises(PlanError, match=r"loading needs .* the pod's memory limit is 16\.0 GiB"):
        plan(model, monkeypatch, 16 << 30)
    _made, said = plan(model, monkeypatch)
    assert "warning" not in said
