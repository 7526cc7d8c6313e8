"""Reads the dimensions of a DeepSeek-V3 model from its GGUF header.

The keys are those that llama.cpp's converter writes for the architecture `deepseek2`. Older files lack some; if the
tensor table or DeepSeek-V3's published configuration has the value, it is used, and a note says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import Model
from leviathan_engine.model.header_keys import ARCHITECTURE, CONVERT, Keys, plain

GATING_SIGMOID = 2


@dataclass(frozen=True)
class Yarn:
    """Parameters of the YaRN rope scaling; `original_context` in tokens."""

    factor: float
    original_context: int
    beta_fast: float
    beta_slow: float
    mscale: float


@dataclass(frozen=True)
class ModelShape:
    """Counts, and widths in elements. The first `dense_layers` have no experts. `notes` say what was derived."""

    layers: int
    dense_layers: int
    hidden: int
    vocab: int
    context: int
    heads: int
    q_lora: int
    kv_lora: int
    nope: int
    rope: int
    v_dim: int
    ffn: int
    moe_ffn: int
    experts: int
    experts_used: int
    experts_shared: int
    groups: int
    groups_used: int
    weights_scale: float
    weights_norm: bool
    rms_eps: float
    rope_base: float
    yarn: Yarn | None
    notes: tuple[str, ...] = ()

    @property
    def kv_b_rows(self) -> int:
        """Number of rows of kv_b: for every head the key part without RoPE, then the value part."""
        return self.heads * (self.nope + self.v_dim)


def read_shape(model: Model) -> ModelShape:
    """Returns the dimensions of `model`.

    Errors: GgufError for another architecture, for a missing key that cannot be derived, or for numbers that contradict
    the tensors.
    """
    keys = Keys(model)
    _check_architecture(keys)
    experts = keys.whole("expert_count", derived=(keys.rows("ffn_gate_exps.weight", 2), "the experts' tensor"))
    v3 = "DeepSeek-V3's configuration" if experts == 256 else "the absence of groups"
    moe_ffn = keys.whole("expert_feed_forward_length", derived=(keys.rows("ffn_gate_exps.weight", 1), "its tensor"))
    shared_rows = keys.rows("ffn_gate_shexp.weight", 1)
    kv_lora = keys.whole("attention.kv_lora_rank", derived=(keys.rows("attn_kv_a_norm.weight", 0), "its norm"))
    rope = keys.whole("rope.dimension_count", derived=(64, "DeepSeek-V3's configuration"))
    v_dim = keys.whole("attention.value_length_mla", "attention.value_length")
    nope = keys.whole("attention.key_length_mla", "attention.key_length") - rope
    sparse = [_layer(t) for t in model.tensors if t.endswith("ffn_gate_exps.weight")]
    shape = ModelShape(
        layers=keys.whole("block_count") - keys.whole("nextn_predict_layers", derived=(0, "llama.cpp's converter")),
        dense_layers=keys.whole(
            "leading_dense_block_count", derived=(min(sparse, default=None), "the experts' layers")
        ),
        hidden=keys.whole("embedding_length"),
        vocab=keys.rows("token_embd.weight", 1) or keys.whole("vocab_size"),
        context=keys.whole("context_length", derived=(163840, "DeepSeek-V3's configuration")),
        heads=keys.whole("attention.head_count"),
        q_lora=keys.whole("attention.q_lora_rank", derived=(keys.rows("attn_q_a_norm.weight", 0), "its norm")),
        kv_lora=kv_lora,
        nope=nope,
        rope=rope,
        v_dim=v_dim,
        ffn=keys.whole("feed_forward_length", derived=(keys.rows("ffn_gate.weight", 1), "a dense layer")),
        moe_ffn=moe_ffn,
        experts=experts,
        experts_used=keys.whole("expert_used_count", derived=(8 if experts == 256 else None, v3)),
        experts_shared=keys.whole("expert_shared_count", derived=((shared_rows or 0) // (moe_ffn or 1), "its tensor")),
        groups=keys.whole("expert_group_count", derived=(8 if experts == 256 else 1, v3)),
        groups_used=keys.whole("expert_group_used_count", derived=(4 if experts == 256 else 1, v3)),
        weights_scale=keys.real("expert_weights_scale", derived=(2.5 if experts == 256 else None, v3)),
        weights_norm=keys.truth("expert_weights_norm", (True, "sigmoid gating")),
        rms_eps=keys.real("attention.layer_norm_rms_epsilon", derived=(1e-6, "DeepSeek-V3's configuration")),
        rope_base=keys.real("rope.freq_base", derived=(10000.0, "DeepSeek-V3's configuration")),
        yarn=_yarn(keys),
        notes=tuple(n for n in keys.notes if "nextn" not in n),
    )
    _check(keys, shape)
    return shape


def _check_architecture(keys: Keys) -> None:
    name = keys.model.metadata.get("general.architecture")
    if name != ARCHITECTURE:
        raise GgufError(
            f"{keys.where}: expected the architecture {ARCHITECTURE!r} (DeepSeek-V3 and R1), got {str(name)[:60]!r}",
            "use a DeepSeek-V3 or R1 model",
        )
    gating = keys.find("expert_gating_func")
    if gating is None and keys.rows("exp_probs_b.bias", 0) is not None:
        keys.notes.append(
            f"{ARCHITECTURE}.expert_gating_func is not in the file: sigmoid is used, because the experts have a bias"
        )
    elif gating != GATING_SIGMOID:
        raise GgufError(
            f"{keys.where}: expected experts chosen by sigmoid (DeepSeek-V3), got softmax (DeepSeek-V2)",
            "use a DeepSeek-V3 or R1 model",
        )


def _yarn(keys: Keys) -> Yarn | None:
    kind, factor = keys.find("rope.scaling.type"), keys.find("rope.scaling.factor")
    if kind not in (None, "none", "yarn"):
        raise GgufError(f"{keys.where}: expected the RoPE scaling 'yarn', got {str(kind)[:60]!r}", CONVERT)
    if kind == "none" or (kind is None and factor is None):
        return None
    default = "DeepSeek-V3's configuration"
    # The converter writes 0.1 * mscale_all_dim, and DeepSeek's models have mscale equal to mscale_all_dim.
    log_multiplier = keys.real("rope.scaling.yarn_log_multiplier", derived=(0.1, default))
    return Yarn(
        factor=keys.real("rope.scaling.factor", derived=(40.0, default)),
        original_context=keys.whole("rope.scaling.original_context_length", derived=(4096, default)),
        beta_fast=keys.real("rope.scaling.yarn_beta_fast", derived=(32.0, default)),
        beta_slow=keys.real("rope.scaling.yarn_beta_slow", derived=(1.0, default)),
        mscale=plain(log_multiplier / 0.1),
    )


def _check(keys: Keys, shape: ModelShape) -> None:
    positive = (
        "layers",
        "hidden",
        "vocab",
        "heads",
        "q_lora",
        "kv_lora",
        "nope",
        "rope",
        "v_dim",
        "experts_used",
        "groups",
    )
    for name in positive:
        if getattr(shape, name) <= 0:
            raise GgufError(f"{keys.where}: {name} is {getattr(shape, name)}, which is out of range", CONVERT)
    if shape.experts_used > shape.experts or shape.experts % shape.groups or shape.dense_layers > shape.layers:
        raise GgufError(f"{keys.where}: the counts of experts, groups and layers contradict each other", CONVERT)
    missing = missing_layer(shape.layers, keys.model.tensors)
    if missing is not None:
        raise GgufError(f"{keys.where}: layer {missing} of {shape.layers} has no tensors", CONVERT)


def missing_layer(layers: int, names: Iterable[str]) -> int | None:
    """Returns the first of `layers` layers without an attention norm in `names`, None if all have one.

    A damaged header may claim two billion layers, so this looks at no more layers than `names` has entries.
    """
    there = {_layer(n) for n in names if n.endswith(".attn_norm.weight")}
    return next((n for n in range(layers) if n not in there), None)


def _layer(name: str) -> int:
    """Returns the layer of a tensor: 3 for `blk.3.attn_norm.weight`, -1 for a tensor outside the layers."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blk" and len(parts) > 2 and parts[1].isdecimal() else -1
