"""What KTransformers' loader can read: checked for every tensor of the model before the engine starts.

Source: `ktransformers/util/custom_gguf.py` of 0.2.1.post1. `load_gguf` looks every row of the tensor table up in
`GGML_QUANT_SIZES`, also rows that nothing uses; `load_gguf_tensor` unpacks a tensor by `GGML_DEQUANTIZE` on the CPU.
"""

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import GgmlType, Model
from leviathan_engine.model.shape import ModelShape

# The last type number in GGML_QUANT_SIZES is BF16's; the removed numbers below it never pass the header's reader.
LAST_KNOWN = GgmlType.BF16
CPU_TYPES = frozenset(
    GgmlType[n]
    for n in ("F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS")
)
EMBEDDING = "token_embd.weight"


def check(model: Model, shape: ModelShape) -> None:
    """Hold the model to what the loader can read.

    Errors: GgufError for a tensor of a type that the loader's table lacks, though nothing may use it; for an embedding
    that is missing, of a type that is not unpacked on the CPU, or of another shape; and for a head and norm of another
    shape. The tensors of the layers are checked where their bytes are counted (`vram`, `ram`).
    """
    for tensor in model.tensors.values():
        if tensor.type > LAST_KNOWN:
            raise GgufError(
                f"{model.parts[tensor.part].path}: {tensor.name} is {tensor.type.name}, a type that ends the engine's "
                "loader while it reads the table, whether the tensor is used or not",
                f"quantise it as one of {_names()}, or leave it out",
            )
    embedding = model.tensors.get(EMBEDDING)
    if embedding is None:
        raise GgufError(f"{model.parts[0].path}: the tensor {EMBEDDING} is missing", "download the model again")
    if len(embedding.shape) != 2:
        where = model.parts[embedding.part].path
        raise GgufError(f"{where}: {EMBEDDING} has {len(embedding.shape)} dimensions, not 2", "convert the model again")
    if embedding.type not in CPU_TYPES:
        raise GgufError(
            f"{model.parts[embedding.part].path}: {EMBEDDING} is {embedding.type.name}, which the engine's loader "
            "cannot unpack",
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
                f"{model.parts[found.part].path}: {name} has the shape {found.shape}, expected {expected}",
                "convert the model again with a current llama.cpp",
            )


def _names() -> str:
    return ", ".join(sorted(kind.name for kind in CPU_TYPES))
