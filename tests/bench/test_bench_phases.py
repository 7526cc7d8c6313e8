"""Which derivation is in which phase, and what Nix's records say of its build."""

import bz2
import json
import os
import time
from pathlib import Path

import pytest

from bench import phases, recorded
from bench.table import NotRun, Row, Verdict

LABELS = {
    "rootfs-build": "Debian rootfs",
    "rootfs-image": "Debian rootfs",
    "cuda-toolkit": "CUDA toolkit",
    "python-torch": "torch layer",
    "layer-torch": "torch layer",
    "python-other": "Python environment",
    "cpuinfer-znver5": "CPU extensions",
    "ktransformers-ops": "CUDA ops",
    "ktransformers-triton": "Triton kernels",
    "ktransformers-source": "KTransformers source",
    "layer-debian": "other layers",
    "leviathan-image": "image",
    "something-new": phases.OTHER,
}


def drv(label: str) -> str:
    """A derivation of this name."""
    return f"/nix/store/{'a' * 32}-{label}.drv"


def test_phase_of_each_step() -> None:
    assert {label: phases.phase(label) for label in LABELS} == LABELS


def test_a_row_for_each_phase_and_their_sum() -> None:
    took = {drv(label): float(n) for n, label in enumerate(LABELS)}
    lines = phases.rows(took, "as recorded")
    assert [line.what for line in lines] == [
        f"image build, {name} (as recorded)" for name in (*phases.PHASES, phases.OTHER, "all phases")
    ]
    found = {line.what: line.ours for line in lines if isinstance(line, Row)}
    assert len(found) == len(lines)
    assert found["image build, Debian rootfs (as recorded)"] == 0 + 1
    assert found["image build, all phases (as recorded)"] == sum(range(len(LABELS)))


def test_one_step_that_is_not_known_is_no_figure_for_its_phase_nor_the_sum() -> None:
    took = {drv(label): 1.0 for label in LABELS} | {drv("cuda-toolkit"): recorded.NO_LOG}
    lines = {line.what: line for line in phases.rows(took, "as recorded")}
    assert isinstance(lines["image build, image (as recorded)"], Row)
    for name in ("CUDA toolkit", "all phases"):
        line = lines[f"image build, {name} (as recorded)"]
        assert isinstance(line, NotRun)
        assert line.why == f"cuda-toolkit: {recorded.NO_LOG}; make bench ARGS=--phases builds it again"


def test_a_phase_without_a_step_has_its_row_too() -> None:
    line = phases.rows({drv("leviathan-image"): 1.0}, "as recorded")[0]
    assert (line.verdict, line.what) == (Verdict.NOT_RUN, "image build, Debian rootfs (as recorded)")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Nix's folder of logs, with one of cuda-toolkit, made now."""
    path = tmp_path / "drvs" / "aa" / f"{'a' * 30}-cuda-toolkit.drv.bz2"
    path.parent.mkdir(parents=True)
    path.write_bytes(bz2.compress(b"words"))
    return tmp_path


def test_from_the_logs_birth_to_the_registration(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "birth", lambda _: 1000.0)
    assert recorded.span(drv("cuda-toolkit"), 1100, [950], logs) == 100


def test_a_check_that_writes_the_log_again_does_not_move_its_birth(logs: Path) -> None:
    file = recorded.log(drv("cuda-toolkit"), logs)
    assert file is not None
    before, now = recorded.birth(file), time.time()
    assert before == 0 or abs(before - now) < 60  # 0: this file system keeps none
    file.write_bytes(b"again")
    os.utime(file, (now + 1000, now + 1000))
    assert recorded.birth(file) == before


def test_what_is_not_known_and_why(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "birth", lambda _: 1000.0)
    assert recorded.span(drv("cuda-toolkit"), None, [], logs) == recorded.NOT_THERE
    assert recorded.span(drv("python-torch"), 1100, [], logs) == recorded.NO_LOG
    assert recorded.span(drv("cuda-toolkit"), 1100, [1050], logs) == recorded.OLD_LOG
    monkeypatch.setattr(recorded, "birth", lambda _: 0.0)
    assert recorded.span(drv("cuda-toolkit"), 1100, [], logs) == recorded.NO_BIRTH


@pytest.mark.parametrize(
    "told",
    [
        [{"path": "/nix/store/a", "registrationTime": 5}, {"path": "/nix/store/b", "valid": False}],
        {"/nix/store/a": {"registrationTime": 5}, "/nix/store/b": None},
    ],
    ids=["Nix 2.8", "since 2.19"],
)
def test_registrations(told: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.nix.nix", lambda *argv: json.dumps(told))
    assert recorded.registrations(["/nix/store/a", "/nix/store/b"]) == {"/nix/store/a": 5.0}
