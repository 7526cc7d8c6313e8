"""kv_b put together equals the kv_b that the converter split, for plain and quantised parts, through real files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from leviathan_engine.errors import EngineError, GgufError
from leviathan_engine.gguf import GgmlType, Model, read_model
from leviathan_engine.model.kv_b import FILE_NAME, engine_folder, join_kv_b, layer_kv_b, needs_kv_b
from leviathan_engine.model.reference import TINY, q4_k_m

Floats = npt.NDArray[np.float32]
MakeGguf = Callable[..., Path]
# Three different widths, so that no two axes can be mixed up unseen.
SHAPE = replace(TINY, layers=2, heads=3, kv_lora=64, nope=32, v_dim=96)
Q = gguf.GGMLQuantizationType


def converter_split(kv_b: Floats) -> tuple[Floats, Floats]:
    """What llama.cpp's DeepseekV2Model.modify_tensors does to kv_b_proj, in numpy."""
    view = kv_b.reshape(SHAPE.heads, SHAPE.v_dim + SHAPE.nope, kv_b.shape[-1])
    k_b, v_b = view[:, : SHAPE.nope], view[:, SHAPE.nope :]
    return np.ascontiguousarray(k_b.transpose(0, 2, 1)), np.ascontiguousarray(v_b)


def whole(layer: int) -> Floats:
    return np.random.default_rng(layer).standard_normal((SHAPE.kv_b_rows, SHAPE.kv_lora)).astype(np.float32)


def model_with(tmp_path: Path, k_type: Q, v_type: Q, *, flat: bool = False, drop: str = "") -> Model:
    """A file with both parts of every layer; `flat`: the two-dimensional form that some forks write."""
    path = tmp_path / "split.gguf"
    writer = gguf.GGUFWriter(str(path), "deepseek2")
    for layer in range(SHAPE.layers):
        for letter, part, kind in zip("kv", converter_split(whole(layer)), (k_type, v_type), strict=True):
            name = f"blk.{layer}.attn_{letter}_b.weight"
            if name == drop:
                continue
            shaped = part.reshape(-1, part.shape[-1]) if flat else part
            writer.add_tensor(name, gguf.quants.quantize(shaped, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read_model(path)


def test_join_undoes_the_converters_split() -> None:
    kv_b = whole(0)
    k_b, v_b = converter_split(kv_b)
    assert k_b.shape == (3, 64, 32)
    assert np.array_equal(join_kv_b(k_b, v_b, SHAPE), kv_b)
    assert not np.array_equal(join_kv_b(k_b.transpose(0, 2, 1), v_b, SHAPE), kv_b)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("kind", [Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q5_0, Q.Q4_1])
def test_parts_in_a_file(tmp_path: Path, kind: Q, flat: bool) -> None:
    model = model_with(tmp_path, kind, kind, flat=flat)
    assert needs_kv_b(model, SHAPE)
    for layer in range(SHAPE.layers):
        got = layer_kv_b(model, SHAPE, layer)
        k_b, v_b = (gguf.quants.dequantize(gguf.quants.quantize(x, kind), kind) for x in converter_split(whole(layer)))
        want = join_kv_b(k_b, v_b, SHAPE)
        assert np.array_equal(got, want)
        exact = {Q.F32: 0.0, Q.F16: 2e-3, Q.BF16: 2e-2}.get(kind, 0.5)
        assert np.abs(got - whole(layer)).max() <= exact


def test_the_engines_folder_has_links_and_kv_b(tmp_path: Path) -> None:
    model = model_with(tmp_path, Q.Q8_0, Q.F32)
    folder = tmp_path / "engine"
    for _ in range(2):  # a second start finds the first one's files
        engine_folder(model, SHAPE, folder)
    assert sorted(p.name for p in folder.iterdir()) == [FILE_NAME, "split.gguf"]
    assert (folder / "split.gguf").readlink() == model.parts[0].path
    reader = gguf.GGUFReader(folder / FILE_NAME)
    assert [t.name for t in reader.tensors] == ["blk.0.attn_kv_b.weight", "blk.1.attn_kv_b.weight"]
    for layer, tensor in enumerate(reader.tensors):
        assert tensor.tensor_type == Q.BF16
        assert tuple(tensor.shape) == (SHAPE.kv_lora, SHAPE.kv_b_rows)
        want = gguf.quants.quantize(layer_kv_b(model, SHAPE, layer), Q.BF16)
        assert np.array_equal(np.asarray(tensor.data).view(np.uint16).reshape(-1), want.view(np.uint16).reshape(-1))
    # The folder as a whole is one model to us only by its main file; the engine takes every file in it.
    assert len(read_model(folder / "split.gguf").tensors) == 4


def test_a_model_with_kv_b_gets_links_alone(tmp_path: Path, make_gguf: MakeGguf) -> None:
    tensors: dict[str, Any] = {f"blk.{n}.attn_kv_b.weight": whole(n) for n in range(SHAPE.layers)}
    model = read_model(make_gguf("old.gguf", tensors))
    assert not needs_kv_b(model, SHAPE)
    engine_folder(model, SHAPE, tmp_path / "engine")
    assert [p.name for p in (tmp_path / "engine").iterdir()] == ["old.gguf"]


def test_a_part_that_is_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match=r"layer 1 has neither attn_kv_b nor blk\.1\.attn_v_b\.weight"):
        needs_kv_b(model_with(tmp_path, Q.F32, Q.F32, drop="blk.1.attn_v_b.weight"), SHAPE)
    model = model_with(tmp_path, Q.F32, Q.F32)
    with pytest.raises(GgufError, match=r"attn_k_b\.weight: expected 8192 elements, got 6144"):
        needs_kv_b(model, replace(SHAPE, heads=4))
    tensors = dict(model.tensors)
    tensors["blk.0.attn_k_b.weight"] = replace(tensors["blk.0.attn_k_b.weight"], type=GgmlType.IQ2_S)
    with pytest.raises(GgufError, match=r"attn_k_b\.weight has type IQ2_S, from which kv_b cannot be assembled"):
        needs_kv_b(replace(model, tensors=tensors), SHAPE)


def test_too_little_space_or_no_right_to_write(tmp_path: Path) -> None:
    model = model_with(tmp_path, Q.F32, Q.F32)
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot write to"):
        engine_folder(model, SHAPE, tmp_path / "file" / "engine")
    huge = replace(TINY, heads=1 << 24)  # 2**24 heads * 256 rows * 512 * 2 bytes = 4 TiB a layer
    with pytest.raises(EngineError, match=r"kv_b tensors need 16384 GiB, but \d+ GiB are free"):
        engine_folder(q4_k_m(huge, split_kv_b=True), huge, tmp_path / "engine")
