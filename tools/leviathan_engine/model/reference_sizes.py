"""DeepSeek-V3 in the quantisation that comes nearest to a size: for a plan before the model is there."""

from dataclasses import dataclass, replace
from itertools import pairwise

from leviathan_engine.gguf import GgmlType, Model, Tensor
from leviathan_engine.model.reference import ALIGNMENT, HEADER_BYTES, q4_k_m

#: Types of the experts, by their bits.
TYPES = tuple(GgmlType[name] for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0"))
#: Within this share of its size the Q4_K_M mix itself is taken; below and above the other two nothing is guessed.
SAME, LEAST, MOST = 0.10, 150e9, 800e9


@dataclass(frozen=True)
class Assumed:
    """A model that was not read, and what it is in words."""

    model: Model
    name: str


def assumed(size: float) -> Assumed:
    """The model for a size in bytes: Q4_K_M, or its experts in the types whose sum is nearest to `size`.

    The down projections may have one step more bits than the others, as in the mixes of llama.cpp and Unsloth.
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
    """`model` with its routed experts in other types."""
    tensors: dict[str, Tensor] = {}
    offset = HEADER_BYTES
    for name, tensor in model.tensors.items():
        kind = down if "ffn_down_exps" in name else most if "_exps" in name else tensor.type
        tensors[name] = replace(tensor, type=kind, offset=offset)
        offset += -(-tensors[name].nbytes // ALIGNMENT) * ALIGNMENT
    return Model((replace(model.parts[0], file_size=offset),), model.metadata, tensors)
