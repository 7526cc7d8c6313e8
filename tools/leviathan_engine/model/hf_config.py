"""Generates the Hugging Face folder that KTransformers needs from a GGUF header.

`config.json` has the names of `ktransformers/models/configuration_deepseek_v3.py` (KTransformers 0.2.1.post1) and of
DeepSeek-V3's own file, without `auto_map`, so the model's code is not run. transformers 4.43.2 does not know the type
"deepseek_v3", so the worker must call `register` before it loads the model.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan_engine.errors import EngineError
from leviathan_engine.gguf import Model
from leviathan_engine.model.shape import ModelShape, read_shape
from leviathan_engine.model.tokenizer import Vocabulary, read_vocabulary, tokenizer_config, tokenizer_json

MODEL_TYPE = "deepseek_v3"
# A template like DeepSeek-V3's own, for files without one.
CHAT_TEMPLATE = (
    "{% if add_generation_prompt is not defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{{ bos_token }}"
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<\uff5cUser\uff5c>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<\uff5cAssistant\uff5c>' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<\uff5cAssistant\uff5c>' }}{% endif %}"
)


@dataclass(frozen=True)
class ModelFolder:
    """The four files as data, and notes about values that the header does not have."""

    config: dict[str, Any]
    generation_config: dict[str, Any]
    tokenizer: dict[str, Any]
    tokenizer_config: dict[str, Any]
    notes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Creates `folder` and writes the files into it. Errors: EngineError that names the folder."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("config", "generation_config", "tokenizer", "tokenizer_config"):
                text = json.dumps(getattr(self, name), ensure_ascii=False)
                (folder / f"{name}.json").write_text(text, encoding="utf-8")
        except OSError as err:
            raise EngineError(
                f"cannot write the model's configuration to {folder}: {err.strerror}",
                "set LEVIATHAN_STATE to a writable folder",
            ) from err


def build(model: Model) -> ModelFolder:
    """Builds the files for `model`. Errors: GgufError if the header lacks a key, or the model is not supported."""
    where = str(model.parts[0].path)
    shape = read_shape(model)
    vocabulary = read_vocabulary(model.metadata, where)
    notes = list(shape.notes)
    if len(vocabulary.tokens) > shape.vocab:
        notes.append(f"the vocabulary has {len(vocabulary.tokens)} tokens, the embedding has {shape.vocab} rows")
    template = model.metadata.get("tokenizer.chat_template")
    if not isinstance(template, str):
        notes.append("tokenizer.chat_template is not in the file: DeepSeek-V3's plain chat template is used")
        template = CHAT_TEMPLATE
    return ModelFolder(
        config=config(shape, vocabulary),
        generation_config=generation_config(model, vocabulary),
        tokenizer=tokenizer_json(vocabulary, where),
        tokenizer_config=tokenizer_config(vocabulary, template, shape.context),
        notes=tuple(notes),
    )


def config(shape: ModelShape, vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the contents of `config.json`."""
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": MODEL_TYPE,
        "torch_dtype": "bfloat16",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "moe_intermediate_size": shape.moe_ffn,
        "num_hidden_layers": shape.layers,
        "num_nextn_predict_layers": 0,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "q_lora_rank": shape.q_lora,
        "kv_lora_rank": shape.kv_lora,
        "qk_nope_head_dim": shape.nope,
        "qk_rope_head_dim": shape.rope,
        "v_head_dim": shape.v_dim,
        "n_routed_experts": shape.experts,
        "n_shared_experts": shape.experts_shared or None,
        "num_experts_per_tok": shape.experts_used,
        "first_k_dense_replace": shape.dense_layers,
        "moe_layer_freq": 1,
        "n_group": shape.groups,
        "topk_group": shape.groups_used,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "norm_topk_prob": shape.weights_norm,
        "routed_scaling_factor": shape.weights_scale,
        "aux_loss_alpha": 0.001,
        "seq_aux": True,
        "ep_size": 1,
        "hidden_act": "silu",
        "rms_norm_eps": shape.rms_eps,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_base,
        "rope_scaling": _rope_scaling(shape),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "pretraining_tp": 1,
        "tie_word_embeddings": False,
        "use_cache": True,
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "pad_token_id": None,
    }


def generation_config(model: Model, vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the contents of `generation_config.json`: the header's `general.sampling.*`, or DeepSeek-V3's values."""
    defaults = {"temperature": ("temp", 0.6), "top_p": ("top_p", 0.95)}
    values: dict[str, Any] = {"bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos, "do_sample": True}
    for name, (key, default) in defaults.items():
        value = model.metadata.get(f"general.sampling.{key}", default)
        values[name] = round(value, 6) if isinstance(value, float) else default
    return values


def register() -> None:
    """Registers KTransformers' configuration class with transformers, instead of running remote code.

    Needs transformers and ktransformers. Another call has no effect.
    """
    auto = importlib.import_module("transformers").AutoConfig
    module = importlib.import_module("ktransformers.models.configuration_deepseek_v3")
    auto.register(MODEL_TYPE, module.DeepseekV3Config, exist_ok=True)


def _rope_scaling(shape: ModelShape) -> dict[str, Any] | None:
    if shape.yarn is None:
        return None
    return {
        "type": "yarn",
        "factor": shape.yarn.factor,
        "original_max_position_embeddings": shape.yarn.original_context,
        "beta_fast": shape.yarn.beta_fast,
        "beta_slow": shape.yarn.beta_slow,
        "mscale": shape.yarn.mscale,
        "mscale_all_dim": shape.yarn.mscale,
    }
