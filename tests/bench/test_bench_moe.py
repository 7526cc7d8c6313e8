"""The layer that all builds share, and what of it goes into the table."""

import hashlib
import zipfile
from pathlib import Path

import moe_layer
import numpy as np
import pytest

from bench import kt_wheel, moe
from bench.errors import Missing
from bench.moe_worker import Spec, inputs
from bench.table import Row, Verdict
from bench.wheels import Wheels

SPEC = Spec("ours", "", "", "", (1,), 512, 256, 4, 2, 1, 0.0)


@pytest.fixture(scope="module")
def layer() -> moe_layer.Layer:
    return moe_layer.random_layer(7, SPEC.hidden, SPEC.width, SPEC.experts)


def test_bf16_there_and_back() -> None:
    exact = np.array([0.0, -1.0, 0.15625, 3.0e38], np.float32)
    assert moe_layer.from_bf16(moe_layer.to_bf16(exact))[:3].tolist() == exact[:3].tolist()
    third = moe_layer.from_bf16(moe_layer.to_bf16(np.array([1 / 3], np.float32)))
    assert 0 < abs(third[0] - 1 / 3) < 2**-10  # half of the last place


def test_a_tie_goes_to_even() -> None:
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8], np.float32)
    assert moe_layer.from_bf16(moe_layer.to_bf16(ties)).tolist() == [1.0, 1 + 2**-6]


def test_q8_k_keeps_the_largest_and_is_near() -> None:
    x = np.random.default_rng(0).standard_normal((2, 512))
    got = moe_layer.q8_k(x)
    assert got[0].reshape(-1, 256).min(axis=1) == pytest.approx(x[0].reshape(-1, 256).min(axis=1), abs=0.02)
    assert np.abs(got - x).max() <= np.abs(x).max() / 127 / 2 * 1.001
    assert not np.array_equal(got, x)
    assert not moe_layer.q8_k(np.zeros((1, 256))).any()


def test_reference_by_hand(layer: moe_layer.Layer) -> None:
    """One token, one expert, written out."""
    import gguf  # noqa: PLC0415

    x = np.random.default_rng(1).standard_normal((1, SPEC.hidden))
    got = moe_layer.reference(layer, x, np.array([[3]]), np.array([[0.5]]), rounded=False)
    gate, up = (gguf.dequantize(w[3], moe_layer.Q4_K).astype(float) @ x[0] for w in (layer.gate, layer.up))
    wanted = 0.5 * (gguf.dequantize(layer.down[3], moe_layer.Q6_K).astype(float) @ (gate / (1 + np.exp(-gate)) * up))
    assert moe_layer.distance(got[0], wanted) < 1e-12


def test_distance_tells_other_experts(layer: moe_layer.Layer) -> None:
    """The 8-bit rounding stays below the limit of agreement's format, other experts are far above it."""
    given = inputs(SPEC, 4)
    x = moe_layer.from_bf16(given.x)
    exact = moe_layer.reference(layer, x, given.ids, given.weights, rounded=False)
    rounded = moe_layer.reference(layer, x, given.ids, given.weights, rounded=True)
    other = moe_layer.reference(layer, x, (given.ids + 1) % SPEC.experts, given.weights, rounded=False)
    assert 0.005 < moe_layer.distance(rounded, exact) < 0.035
    assert moe_layer.distance(other, exact) > 0.5


def test_inputs_are_the_same_for_every_build() -> None:
    first, second = inputs(SPEC, 16), inputs(SPEC, 16)
    assert np.array_equal(first.x, second.x)
    assert np.array_equal(first.ids, second.ids)
    assert all(len(set(chosen)) == SPEC.per_token for chosen in first.ids.tolist())


def test_rows_pair_by_tokens() -> None:
    best = {"znver4": {1: 11.0, 16: 100.0, 64: 340.0}, "kt": {1: 14.0, 16: 99.0, 64: 370.0}}
    rows = moe.rows(best, [("znver4", "kt", 1.0)])
    assert [row.what for row in rows] == [f"MoE step, {n}, znver4" for n in ("1 token", "16 tokens", "64 tokens")]
    assert [row.verdict for row in rows] == [Verdict.GOOD, Verdict.OVER, Verdict.GOOD]
    first = rows[0]
    assert isinstance(first, Row)
    assert (first.ours, first.theirs, first.against) == (11.0, 14.0, "kt")


def test_a_build_that_this_cpu_cannot_run_is_named_with_what_it_lacks() -> None:
    table = {"znver5": ["avx512f", "avx_vnni", "avx512_vp2intersect"], "znver4": ["avx512f"], "x86-64-v3": []}
    assert moe.unfit(table, ["avx512f"]) == {"znver5": "this CPU has no avx_vnni, avx512_vp2intersect"}
    assert moe.unfit(table, ["avx512f", "avx_vnni", "avx512_vp2intersect"]) == {}


def test_unpack_takes_the_kernels_alone(tmp_path: Path) -> None:
    names = ["kt_kernel/_cpu_detect.py", "kt_kernel.libs/libnuma.so", "deep_gemm/big.h", "kt_kernel-1.dist-info/RECORD"]
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    kt_wheel.unpack(tmp_path / "a.whl", tmp_path / "cache" / "kt")
    found = sorted(str(p.relative_to(tmp_path / "cache")) for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert found == ["kt/kt_kernel.libs/libnuma.so", "kt/kt_kernel/_cpu_detect.py"]


def test_a_wheel_is_taken_by_its_hash(tmp_path: Path) -> None:
    wheel, requirements = tmp_path / "kt_kernel-1.whl", tmp_path / "requirements.txt"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("kt_kernel/_cpu_detect.py", "x")
    with pytest.raises(Missing, match=r"not that of kt-kernel==0.7.2; get it with: python3 -m pip download"):
        kt_wheel.unpacked(wheel, tmp_path)
    requirements.write_text(f"kt-kernel==1 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    for given in (None, wheel):
        folder = kt_wheel.unpacked(given, tmp_path, Wheels(requirements, ("any",)))
        assert (folder / "kt_kernel" / "_cpu_detect.py").read_text() == "x"
    assert kt_wheel.unpacked(folder) == folder
    with pytest.raises(Missing, match=r"has no kt_kernel/_cpu_detect.py"):
        kt_wheel.unpacked(tmp_path)
    with pytest.raises(Missing, match=r"there is no .*gone.whl"):
        kt_wheel.unpacked(tmp_path / "gone.whl")
