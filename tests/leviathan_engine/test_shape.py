"""The model's dimensions out of the header, of both generations, and what is derived where a key is missing."""

from dataclasses import replace

import pytest

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import Model
from leviathan_engine.model.reference import DEEPSEEK_V3, TINY, q4_k_m, use_more_bits
from leviathan_engine.model.shape import ModelShape, read_shape


def without(model: Model, *keys: str, **changed: object) -> Model:
    """The model with keys of its architecture removed or changed (dots as double underscores)."""
    metadata = {k: v for k, v in model.metadata.items() if k.removeprefix("deepseek2.") not in keys}
    for key, value in changed.items():
        metadata["deepseek2." + key.replace("__", ".")] = value  # type: ignore[assignment]
    return replace(model, metadata=metadata)


@pytest.mark.parametrize("split_kv_b", [False, True])
@pytest.mark.parametrize("shape", [DEEPSEEK_V3, TINY, replace(TINY, yarn=None)])
def test_both_generations_give_the_same_shape(shape: ModelShape, split_kv_b: bool) -> None:
    assert read_shape(q4_k_m(shape, split_kv_b=split_kv_b)) == shape


def test_missing_keys_are_derived_and_said() -> None:
    old = without(
        q4_k_m(),
        "expert_gating_func",
        "expert_group_count",
        "expert_group_used_count",
        "expert_shared_count",
        "expert_feed_forward_length",
        "leading_dense_block_count",
        "expert_weights_norm",
        "rope.scaling.yarn_log_multiplier",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        "vocab_size",
        "attention.q_lora_rank",
        "feed_forward_length",
        "expert_weights_scale",
    )
    shape = read_shape(old)
    assert replace(shape, notes=()) == DEEPSEEK_V3
    notes = "\n".join(shape.notes)
    for key in ("expert_gating_func", "expert_group_count", "leading_dense_block_count", "yarn_log_multiplier"):
        assert f"deepseek2.{key.replace('yarn_log', 'rope.scaling.yarn_log')}" in notes
    assert "8 is used, from DeepSeek-V3's configuration" in notes
    assert "2048 is used, from its tensor" in notes


def test_a_per_layer_list_of_one_value_is_that_value() -> None:
    assert read_shape(without(q4_k_m(), attention__head_count=[128] * 61)).heads == 128


BAD: list[tuple[Model, str]] = [
    (
        replace(q4_k_m(TINY), metadata={"general.architecture": "llama"}),
        "expected the architecture 'deepseek2' .*, got 'llama'",
    ),
    (without(q4_k_m(TINY), expert_gating_func=1), r"got softmax \(DeepSeek-V2\)"),
    (without(q4_k_m(TINY), "block_count"), "the key deepseek2.block_count is missing"),
    (without(q4_k_m(TINY), "expert_weights_scale"), "the key deepseek2.expert_weights_scale is missing"),
    (without(q4_k_m(TINY), block_count="four"), "deepseek2.block_count: expected an integer, got 'four'"),
    (without(q4_k_m(TINY), block_count=-1), "expected an integer, got '-1'"),
    (without(q4_k_m(TINY), block_count=9), "layer 4 of 9 has no tensors"),
    (without(q4_k_m(TINY), block_count=(1 << 31) - 1), "layer 4 of 2147483647 has no tensors"),
    (without(q4_k_m(TINY), expert_used_count=99), "contradict each other"),
    (without(q4_k_m(TINY), rope__scaling__type="longrope"), "expected the RoPE scaling 'yarn', got 'longrope'"),
    (without(q4_k_m(TINY), expert_weights_norm=3), "expected true or false, got '3'"),
    (without(q4_k_m(TINY), attention__head_count=0), "heads is 0, which is out of range"),
]


@pytest.mark.parametrize(("model", "text"), BAD)
def test_what_cannot_be_served_is_one_line(model: Model, text: str) -> None:
    with pytest.raises(GgufError, match=text) as caught:
        read_shape(model)
    assert "\n" not in caught.value.line()
    assert caught.value.remedy


def test_the_layers_with_more_bits() -> None:
    # 61 layers: 61 // 8 = 7, so 0..6; 7 * 61 // 8 = 53, so 53..60; between them 9, 12, ... 51.
    assert [n for n in range(61) if use_more_bits(n, 61)] == [*range(7), *range(9, 53, 3), *range(53, 61)]


def test_the_671b_table_by_hand() -> None:
    model = q4_k_m()
    # 3 outside the layers; attention and norms 9 a layer; 3 in each of 3 dense layers; 8 in each of 58 sparse ones.
    assert len(model.tensors) == 3 + 61 * 9 + 3 * 3 + 58 * 8 == 1025
    # gate and up: 2 * 256 * 2048 * 7168 = 7,516,192,768 at 4.5 bits; down: half as many, 27 layers of Q6_K at 6.5625
    # bits (4 before layer 7, 8 after 52, 15 between) and 31 of Q4_K.
    experts = sum(t.nbytes for t in model.tensors.values() if "_exps." in t.name)
    assert experts == 58 * 7_516_192_768 * 9 // 16 + 3_758_096_384 * (27 * 210 + 31 * 144) // 256
    assert round(experts / 2**30, 1) == 366.9
    assert round(model.tensor_bytes / 1e9, 1) == 404.4
    assert round(model.tensor_bytes / 2**30, 1) == 376.7
