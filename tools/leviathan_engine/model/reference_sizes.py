"""DeepSeek-V3 in the quantisation that is closest to a size, for a plan before the model is downloaded."""

from dataclasses import dataclass, replace
from itertools import pairwise

from leviathan_engine.gguf import GgmlType, Model, Tensor
from leviathan_engine.model.reference import ALIGNMENT, HEADER_BYTES, q4_k_m

#: Types of the experts, by their number of bits.
TYPES = tuple(GgmlType[name] for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0"))
#: The Q4_K_M mix is used for sizes within this share of its own, and for sizes outside of these two bounds in bytes.
SAME, LEAST, MOST = 0.10, 150e9, 800e9


@dataclass(frozen=True)
class Assumed:
    """A model that was assumed instead of read, and its description."""

    model: Model
    name: str


def assumed(size: float) -> Assumed:
    """Returns the model for a size in bytes: Q4_K_M, or with the expert types whose total is closest to `size`.

    The down projections may have the next larger type, as in the mixes of llama.cpp and Unsloth.
    """
    reference = q4_k_m()
    whole = reference.parts[0].file_size
    if abs(size - whole) <= SAME * whole or not LEAST <= size <= MOST:
        return Assumed(reference, "DeepSeek-V3 Q4_K_M")
    steps = [(one, one) for one in TYPES] + list(pairwise(TYPES))
    made = [(_with_experts(reference, *types), types) for types in steps]
    model, (most, down) = min(made, key=lambda each: abs(each[0].parts[0].file_size - size))
    mix = most.name if most is down else f"{most.name} and {down.name}"
    found = model.parts[0].file_size / 1e9
    return Assumed(model, f"DeepSeek-V3 with experts in {mix}, {found:.0f} GB, the nearest to {size / 1e9:g} GB")


def _with_experts(model: Model, most: GgmlType, down: GgmlType) -> Model:
    """Returns `model` with its routed experts in other types."""
    tensors: dict[str, Tensor] = {}
    offset = HEADER_BYTES
    for name, tensor in model.tensors.items():
        kind = down if "ffn_down_exps" in name else most if "_exps" in name else tensor.type
        tensors[name] = replace(tensor, type=kind, offset=offset)
        offset += -(-tensors[name].nbytes // ALIGNMENT) * ALIGNMENT
    return Model((replace(model.parts[0], file_size=offset),), model.metadata, tensors)
