"""The tensor table of DeepSeek-V3 as llama.cpp's Q4_K_M quantisation writes it, without any weights.

The planner uses it before the model is downloaded, and the tests use it as a fixture. Names and shapes are those of
llama.cpp's `deepseek2`; the types follow its Q4_K_M mix (`llama_tensor_get_type`): Q4_K, but Q6_K for the output and
for the down projections of the layers chosen by `use_more_bits`; norms, biases and the router stay F32.
"""

from dataclasses import replace
from pathlib import Path

from leviathan_engine.gguf import GgmlType, Model, Part, Tensor, Value
from leviathan_engine.model.shape import ModelShape, Yarn

DEEPSEEK_V3 = ModelShape(
    layers=61,
    dense_layers=3,
    hidden=7168,
    vocab=129280,
    context=163840,
    heads=128,
    q_lora=1536,
    kv_lora=512,
    nope=128,
    rope=64,
    v_dim=128,
    ffn=18432,
    moe_ffn=2048,
    experts=256,
    experts_used=8,
    experts_shared=1,
    groups=8,
    groups_used=4,
    weights_scale=2.5,
    weights_norm=True,
    rms_eps=1e-6,
    rope_base=10000.0,
    yarn=Yarn(factor=40.0, original_context=4096, beta_fast=32.0, beta_slow=1.0, mscale=1.0),
)
F32, Q4, Q6 = GgmlType.F32, GgmlType.Q4_K, GgmlType.Q6_K
HEADER_BYTES = 5 << 20
ALIGNMENT = 32


def q4_k_m(
    shape: ModelShape = DEEPSEEK_V3, *, split_kv_b: bool = False, name: str = "DeepSeek-V3-Q4_K_M.gguf"
) -> Model:
    """Returns a model of this shape in the Q4_K_M mix, in one file.

    `split_kv_b`: with attn_k_b and attn_v_b, as converted since April 2025. Row lengths must be multiples of 256,
    except those of attn_k_b.
    """
    rows = [
        ("token_embd.weight", (shape.hidden, shape.vocab), Q4),
        ("output.weight", (shape.hidden, shape.vocab), Q6),
        ("output_norm.weight", (shape.hidden,), F32),
    ]
    for layer in range(shape.layers):
        down = Q6 if use_more_bits(layer, shape.layers) else Q4
        rows += [(f"blk.{layer}.{n}", dims, kind) for n, dims, kind in _attention(shape, split_kv_b=split_kv_b)]
        body = _dense(shape, down) if layer < shape.dense_layers else _experts(shape, down)
        rows += [(f"blk.{layer}.{n}", dims, kind) for n, dims, kind in body]
    tensors: dict[str, Tensor] = {}
    offset = HEADER_BYTES
    for tensor_name, dims, kind in rows:
        tensors[tensor_name] = Tensor(tensor_name, dims, kind, offset)
        offset += -(-tensors[tensor_name].nbytes // ALIGNMENT) * ALIGNMENT
    part = Part(Path(name), offset, 3, ALIGNMENT, HEADER_BYTES)
    return Model((part,), metadata(shape, split_kv_b=split_kv_b), tensors)


def use_more_bits(layer: int, layers: int) -> bool:
    """Whether llama.cpp gives the layer's down projection more bits: the first and last eighth, and every third."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def metadata(shape: ModelShape, *, split_kv_b: bool = False) -> dict[str, Value]:
    """Returns the architecture's keys for this shape, as llama.cpp's converter writes them."""
    mla: dict[str, Value] = {
        "attention.head_count_kv": 1,
        "attention.key_length": shape.kv_lora + shape.rope,
        "attention.value_length": shape.kv_lora,
        "attention.key_length_mla": shape.nope + shape.rope,
        "attention.value_length_mla": shape.v_dim,
    }
    old: dict[str, Value] = {
        "attention.head_count_kv": shape.heads,
        "attention.key_length": shape.nope + shape.rope,
        "attention.value_length": shape.v_dim,
    }
    keys: dict[str, Value] = {
        "block_count": shape.layers,
        "context_length": shape.context,
        "embedding_length": shape.hidden,
        "feed_forward_length": shape.ffn,
        "attention.head_count": shape.heads,
        "attention.layer_norm_rms_epsilon": shape.rms_eps,
        "attention.q_lora_rank": shape.q_lora,
        "attention.kv_lora_rank": shape.kv_lora,
        **(mla if split_kv_b else old),
        "rope.freq_base": shape.rope_base,
        "rope.dimension_count": shape.rope,
        "vocab_size": shape.vocab,
        "leading_dense_block_count": shape.dense_layers,
        "expert_feed_forward_length": shape.moe_ffn,
        "expert_count": shape.experts,
        "expert_used_count": shape.experts_used,
        "expert_shared_count": shape.experts_shared,
        "expert_group_count": shape.groups,
        "expert_group_used_count": shape.groups_used,
        "expert_weights_scale": shape.weights_scale,
        "expert_weights_norm": shape.weights_norm,
        "expert_gating_func": 2,
    }
    if shape.yarn is not None:
        keys |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": shape.yarn.factor,
            "rope.scaling.original_context_length": shape.yarn.original_context,
            "rope.scaling.yarn_log_multiplier": 0.1 * shape.yarn.mscale,
            "rope.scaling.yarn_beta_fast": shape.yarn.beta_fast,
            "rope.scaling.yarn_beta_slow": shape.yarn.beta_slow,
        }
    return {"general.architecture": "deepseek2", **{f"deepseek2.{k}": v for k, v in keys.items()}}


Rows = list[tuple[str, tuple[int, ...], GgmlType]]


def _attention(s: ModelShape, *, split_kv_b: bool) -> Rows:
    # attn_k_b has rows of `nope` (128) elements: no K-quant fits, and llama.cpp falls back from Q4_K to Q5_0.
    k_type = Q4 if s.nope % 256 == 0 else GgmlType.Q5_0
    kv_b: Rows = [("attn_kv_b.weight", (s.kv_lora, s.kv_b_rows), Q4)]
    if split_kv_b:
        kv_b = [
            ("attn_k_b.weight", (s.nope, s.kv_lora, s.heads), k_type),
            ("attn_v_b.weight", (s.kv_lora, s.v_dim, s.heads), Q4),
        ]
    return [
        ("attn_norm.weight", (s.hidden,), F32),
        ("attn_q_a.weight", (s.hidden, s.q_lora), Q4),
        ("attn_q_a_norm.weight", (s.q_lora,), F32),
        ("attn_q_b.weight", (s.q_lora, s.heads * (s.nope + s.rope)), Q4),
        ("attn_kv_a_mqa.weight", (s.hidden, s.kv_lora + s.rope), Q4),
        ("attn_kv_a_norm.weight", (s.kv_lora,), F32),
        *kv_b,
        ("attn_output.weight", (s.heads * s.v_dim, s.hidden), Q4),
        ("ffn_norm.weight", (s.hidden,), F32),
    ]


def _dense(s: ModelShape, down: GgmlType) -> Rows:
    return [
        ("ffn_gate.weight", (s.hidden, s.ffn), Q4),
        ("ffn_up.weight", (s.hidden, s.ffn), Q4),
        ("ffn_down.weight", (s.ffn, s.hidden), down),
    ]


def _experts(s: ModelShape, down: GgmlType) -> Rows:
    shared = s.moe_ffn * s.experts_shared
    return [
        ("ffn_gate_inp.weight", (s.hidden, s.experts), F32),
        ("exp_probs_b.bias", (s.experts,), F32),
        ("ffn_gate_exps.weight", (s.hidden, s.moe_ffn, s.experts), Q4),
        ("ffn_up_exps.weight", (s.hidden, s.moe_ffn, s.experts), Q4),
        ("ffn_down_exps.weight", (s.moe_ffn, s.hidden, s.experts), down),
        ("ffn_gate_shexp.weight", (s.hidden, shared), Q4),
        ("ffn_up_shexp.weight", (s.hidden, shared), Q4),
        ("ffn_down_shexp.weight", (shared, s.hidden), down),
    ]


# A tiny model of the same architecture, for tests and dry runs.
TINY = replace(
    DEEPSEEK_V3,
    layers=4,
    dense_layers=1,
    hidden=512,
    vocab=512,
    context=4096,
    heads=4,
    q_lora=256,
    ffn=1024,
    moe_ffn=256,
    experts=8,
    experts_used=2,
    groups=2,
    groups_used=1,
)
