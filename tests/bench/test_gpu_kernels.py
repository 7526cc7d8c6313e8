"""What tests/gpu holds the kernels to, on the CPU: the references, the limits, and that a fault does not pass."""

import json
from pathlib import Path
from typing import Any

import dequant_blocks
import gguf
import kernel_limits
import numpy as np
import pytest
import side_by_side
from dequant_blocks import KINDS, Kind

from leviathan_engine.gguf import GgmlType
from leviathan_engine.gguf.quants import dequantize

KIND = pytest.mark.parametrize("name", KINDS)


@KIND
def test_reference_is_what_two_others_say(name: str) -> None:
    """llama.cpp's Python and the engine's own numpy, both in float32: one rounding apart."""
    kind = KINDS[name]
    blocks = dequant_blocks.random_blocks(kind, 500)
    wanted = kind.reference(blocks)
    type_ = GgmlType[name.upper()]
    assert (type_.size, wanted.shape) == (kind.size, (500, kind.elements))
    ours = dequantize(blocks.tobytes(), type_).reshape(wanted.shape)
    theirs = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(int(type_)))
    for got in (ours, theirs):
        assert dequant_blocks.error(got.astype(np.float64), wanted) < 1e-7
    assert np.abs(wanted).max(axis=1).min() > 0


def float32_of(kind: Kind, blocks: dequant_blocks.Bytes) -> dequant_blocks.Floats:
    """What a right kernel answers."""
    return kind.reference(blocks).astype(np.float32).astype(np.float64)


@KIND
def test_one_bit_of_one_scale_is_over_the_limit(name: str) -> None:
    kind, most = KINDS[name], kernel_limits.DEQUANTISATION["error"]
    blocks = dequant_blocks.random_blocks(kind, 6144)
    wrong = dequant_blocks.corrupted(kind, blocks)
    assert (wrong != blocks).sum() == 1
    assert dequant_blocks.error(float32_of(kind, blocks), kind.reference(blocks)) < most / 10
    assert dequant_blocks.error(float32_of(kind, wrong), kind.reference(blocks)) > most * 10


def test_a_fault_in_a_small_block_counts_as_in_a_large_one() -> None:
    wanted = np.array([[1000.0, 1.0], [1e-3, 1e-4]])
    assert dequant_blocks.error(wanted + np.array([[0, 0], [0, 1e-6]]), wanted) == pytest.approx(1e-3)


def test_the_sample_has_the_kernels_second_round() -> None:
    at = dequant_blocks.sample(458752)
    assert {0, 131071, 131072, 458751} <= set(at.tolist())
    assert len(at) == len(set(at.tolist())) == 3 * 2048
    assert dequant_blocks.sample(100).tolist() == list(range(100))


def marlin(**changed: Any) -> dict[str, Any]:
    """A good row of Marlin's."""
    row = {"what": "q_b", "m": 16, "act_order": True, "error": 2.3e-3, "worst": 4e-3, "us": 13.4, "of_memory": 0.6}
    return row | {"control": {"error": 0.09, "worst": 0.2}} | changed


def dequantised(**changed: Any) -> dict[str, Any]:
    """A good row of a dequantisation."""
    row = {"what": "dequantize_q8_0", "error": 5e-8, "us": None, "call_us": 200.0, "of_memory": None}
    return row | {"control": {"error": 5e-4}} | changed


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (marlin(error=6.1e-3), "q_b act-order m=16: error 6.10e-03 is over its limit of 0.006"),
        (marlin(worst=0.03), "q_b act-order m=16: worst 3.00e-02 is over its limit of 0.02"),
        (marlin(error=float("nan")), "q_b act-order m=16: error nan is over its limit of 0.006"),
        (dequantised(error=2e-6), "dequantize_q8_0: error 2.00e-06 is over its limit of 1e-06"),
        (marlin(control={"error": 0.09, "worst": 4e-3}), "a wrong scale gives worst 4.00e-03, not over 0.02"),
        (dequantised(control={"error": 5e-8}), "a wrong scale gives error 5.00e-08, not over 1e-06: unseen"),
    ],
)
def test_violations(row: dict[str, Any], said: str) -> None:
    assert kernel_limits.violations([marlin(), dequantised()]) == []
    (found,) = kernel_limits.violations([marlin(), row, dequantised()])
    assert said in found


def test_what_is_exported_and_not_run_is_named() -> None:
    rows = [marlin(), dequantised()]
    exported = ["__doc__", "dequantize_q8_0", "gptq_marlin_gemm"]
    assert kernel_limits.untested(exported, rows) == []
    assert kernel_limits.untested([*exported, "dequantize_q9"], rows) == ["dequantize_q9 is exported and was not run"]
    assert kernel_limits.untested(exported, rows[1:]) == ["gptq_marlin_gemm is exported and was not run"]


def write(folder: Path, name: str, rows: list[dict[str, Any]], violations: list[str]) -> list[str]:
    """One run's two files."""
    head = {"gpu": "H100", "torch": "2", "copy_rate": 2.4e12, "violations": violations}
    (folder / f"{name}.json").write_text("torch's words\n" + json.dumps(head | {"rows": rows}))
    arrays: dict[str, Any] = {side_by_side.key(row): np.arange(3) for row in rows}
    np.savez(folder / f"{name}.npz", **arrays)
    return [str(folder / f"{name}.json"), str(folder / f"{name}.npz")]


def compare(
    folder: Path, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], violations: list[str] | None = None
) -> int:
    """side_by_side of two runs."""
    files = [*write(folder, "ours", ours, violations or []), *write(folder, "theirs", theirs, [])]
    return side_by_side.main(*files)


def test_side_by_side_has_a_row_for_each_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = [marlin(), dequantised()]
    assert compare(tmp_path, good, good) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert {row.count("|") for row in rows} == {len(side_by_side.COLUMNS) + 1}
    assert rows[2].startswith("| q_b, act-order | 16 | 2.30e-03 | 2.30e-03 | 0.006 | 13.4 | 13.4 | 1.00 | 60% | equal")
    assert rows[3].startswith("| dequantize_q8_0 |  | 5.00e-08 | 5.00e-08 | 1e-06 | 200 (call) | 200 (call) | 1.00 |")


def test_a_fault_common_to_both_compilers_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [marlin(error=0.5), dequantised()]
    assert compare(tmp_path, both, both) == 1
    err = capsys.readouterr().err
    assert "ours: q_b act-order m=16: error 5.00e-01" in err
    assert "theirs: q_b act-order m=16: error 5.00e-01" in err


def test_ours_a_tenth_worse_fails_below_the_limit_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(tmp_path, [marlin(error=4e-3)], [marlin(error=3e-3)]) == 1
    assert "error 4.00e-03, theirs 3.00e-03" in capsys.readouterr().err
    assert compare(tmp_path, [marlin(error=3.2e-3)], [marlin(error=3e-3)]) == 0


def test_what_a_run_said_of_itself_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(tmp_path, [marlin()], [marlin()], ["dequantize_q9 is exported and was not run"]) == 1
    assert "ours: dequantize_q9 is exported and was not run" in capsys.readouterr().err
