"""Assembles attn_kv_b for files that have attn_k_b and attn_v_b instead.

llama.cpp's converter (since its MLA change of April 2025) takes kv_b, `[heads * (nope + v), kv_lora]`, views it as
`[heads, nope + v, kv_lora]`, splits the middle axis and stores k_b with its last two axes swapped:
k_b `[heads, kv_lora, nope]` and v_b `[heads, v, kv_lora]`. KTransformers 0.2.1.post1 only knows `attn_kv_b`.

`engine_folder` creates the folder that the worker loads: links to the model's files and, if needed, one more GGUF file
with kv_b in bfloat16, the type with which the worker computes.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leviathan_engine.errors import EngineError, GgufError
from leviathan_engine.gguf import GgmlType, Model, Tensor, ValueType
from leviathan_engine.gguf.quants import ROWS, dequantize, to_bf16
from leviathan_engine.gguf.write import write_gguf
from leviathan_engine.model.shape import ModelShape

Floats = npt.NDArray[np.float32]
FILE_NAME = "leviathan-kv-b.gguf"
SPARE = 64 << 20


def needs_kv_b(model: Model, shape: ModelShape) -> bool:
    """Whether kv_b must be assembled for this model.

    Errors: GgufError if a layer has neither kv_b nor both parts, or if a part has an unsupported type or size.
    """
    missing = [n for n in range(shape.layers) if f"blk.{n}.attn_kv_b.weight" not in model.tensors]
    for layer in missing:
        _parts(model, shape, layer)
    return bool(missing)


def join_kv_b(k_b: Floats, v_b: Floats, shape: ModelShape) -> Floats:
    """Returns kv_b `[heads * (nope + v), kv_lora]` from the elements of k_b and v_b in the converter's order."""
    keys = k_b.reshape(shape.heads, shape.kv_lora, shape.nope).transpose(0, 2, 1)
    values = v_b.reshape(shape.heads, shape.v_dim, shape.kv_lora)
    return np.concatenate([keys, values], axis=1).reshape(shape.kv_b_rows, shape.kv_lora)


def layer_kv_b(model: Model, shape: ModelShape, layer: int) -> Floats:
    """Returns kv_b of one layer, assembled from its two dequantised parts in the files."""
    k_b, v_b = _parts(model, shape, layer)
    return join_kv_b(_load(model, k_b), _load(model, v_b), shape)


def engine_folder(model: Model, shape: ModelShape, folder: Path) -> Path:
    """Fills `folder` with links to the model's files and, where needed, a file of kv_b tensors; returns `folder`.

    Errors: GgufError for a model without kv_b and without its parts; EngineError if the folder cannot be written or has
    too little free space.
    """
    layers = [n for n in range(shape.layers) if f"blk.{n}.attn_kv_b.weight" not in model.tensors]
    needs_kv_b(model, shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.gguf"):
            old.unlink()
        for part in model.parts:
            (folder / part.path.name).symlink_to(part.path.resolve())
        if layers:
            _check_space(folder, len(layers) * shape.kv_b_rows * shape.kv_lora * 2)
            _write(model, shape, layers, folder / FILE_NAME)
    except OSError as err:
        raise EngineError(
            f"cannot write to {folder}: {err.strerror}", "set LEVIATHAN_STATE to a writable folder with free space"
        ) from err
    return folder


def _write(model: Model, shape: ModelShape, layers: list[int], path: Path) -> None:
    def data() -> Iterator[bytes]:
        for layer in layers:
            yield to_bf16(layer_kv_b(model, shape, layer)).tobytes()

    dims = (shape.kv_lora, shape.kv_b_rows)
    write_gguf(
        path,
        {"general.architecture": (ValueType.STRING, "deepseek2")},
        [(f"blk.{n}.attn_kv_b.weight", dims, GgmlType.BF16) for n in layers],
        data(),
    )


def _check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if need + SPARE > free:
        raise EngineError(
            f"{folder}: this model's kv_b tensors need {need / 2**30:.0f} GiB, but {free / 2**30:.0f} GiB are free",
            "enlarge the volume of that folder, or use a model that was converted with attn_kv_b",
        )


def _parts(model: Model, shape: ModelShape, layer: int) -> tuple[Tensor, Tensor]:
    wanted = {"k": shape.heads * shape.kv_lora * shape.nope, "v": shape.heads * shape.v_dim * shape.kv_lora}
    found: list[Tensor] = []
    for letter, elements in wanted.items():
        name = f"blk.{layer}.attn_{letter}_b.weight"
        tensor = model.tensors.get(name)
        if tensor is None:
            raise GgufError(
                f"{model.parts[0].path}: layer {layer} has neither attn_kv_b nor {name}",
                "use a complete conversion of DeepSeek-V3",
            )
        where = model.parts[tensor.part].path
        if tensor.elements != elements:
            raise GgufError(
                f"{where}: {name}: expected {elements} elements, got {tensor.elements}",
                "convert the model again with a current llama.cpp",
            )
        if tensor.type not in ROWS:
            raise GgufError(
                f"{where}: the tensor {name} has type {tensor.type.name}, from which kv_b cannot be assembled",
                f"quantise attn_{letter}_b as Q8_0 or BF16",
            )
        found.append(tensor)
    return found[0], found[1]


def _load(model: Model, tensor: Tensor) -> Floats:
    path = model.parts[tensor.part].path
    try:
        data = np.fromfile(path, np.uint8, count=tensor.nbytes, offset=tensor.offset)
    except OSError as err:
        raise GgufError(
            f"cannot read {tensor.name} from {path}: {err.strerror}", "check the disk with dmesg on the node"
        ) from err
    if data.size != tensor.nbytes:
        raise GgufError(
            f"{path}: {tensor.name} ends after {data.size} of {tensor.nbytes} bytes", "download the file again"
        )
    return dequantize(data, tensor.type)
