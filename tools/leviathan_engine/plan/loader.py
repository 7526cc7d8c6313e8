"""Checks that KTransformers' loader can read every tensor of the model, before the worker starts.

Source: `ktransformers/util/custom_gguf.py` of 0.2.1.post1. `load_gguf` looks up every row of the tensor table in
`GGML_QUANT_SIZES`, even rows that are not used; `load_gguf_tensor` unpacks a tensor with `GGML_DEQUANTIZE` on the CPU.
"""

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import GgmlType, Model
from leviathan_engine.model.shape import ModelShape

# BF16 is the last type number in GGML_QUANT_SIZES; the header's reader refuses the removed numbers below it.
LAST_KNOWN = GgmlType.BF16
CPU_TYPES = frozenset(
    GgmlType[n]
    for n in ("F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS")
)
EMBEDDING = "token_embd.weight"


def check(model: Model, shape: ModelShape) -> None:
    """Checks that the loader can read the model.

    Errors: GgufError for a tensor whose type is missing in the loader's table, even if the tensor is not used; for an
    embedding that is missing, has a type that the CPU cannot unpack, or has a wrong shape; and for a head or norm with
    a wrong shape. `vram` and `ram` check the tensors of the layers.
    """
    for tensor in model.tensors.values():
        if tensor.type > LAST_KNOWN:
            raise GgufError(
                f"{model.parts[tensor.part].path}: the tensor {tensor.name} has type {tensor.type.name}, which stops "
                "KTransformers' loader, even if the tensor is not used",
                f"quantise it as one of {_names()}, or leave the tensor out",
            )
    embedding = model.tensors.get(EMBEDDING)
    if embedding is None:
        raise GgufError(f"{model.parts[0].path}: the tensor {EMBEDDING} is missing", "download the model again")
    if len(embedding.shape) != 2:
        where = model.parts[embedding.part].path
        raise GgufError(
            f"{where}: {EMBEDDING}: expected 2 dimensions, got {len(embedding.shape)}",
            "convert the model again with a current llama.cpp",
        )
    if embedding.type not in CPU_TYPES:
        raise GgufError(
            f"{model.parts[embedding.part].path}: the tensor {EMBEDDING} has type {embedding.type.name}, which "
            "KTransformers' loader cannot unpack",
            f"quantise it as one of {_names()} (llama-quantize --token-embedding-type)",
        )
    wanted = {
        EMBEDDING: (shape.hidden, shape.vocab),
        "output.weight": (shape.hidden, shape.vocab),
        "output_norm.weight": (shape.hidden,),
    }
    for name, expected in wanted.items():
        found = model.tensors.get(name)
        if found is not None and len(found.shape) == len(expected) and found.shape != expected:
            raise GgufError(
                f"{model.parts[found.part].path}: {name}: expected the shape {expected}, got {found.shape}",
                "convert the model again with a current llama.cpp",
            )


def _names() -> str:
    return ", ".join(sorted(kind.name for kind in CPU_TYPES))
