"""Writes a DeepSeek-V3 model of random weights that is small enough to load in a second.

    tiny_deepseek_v3.py OUT

makes OUT/config.json, configuration_deepseek.py, tokenizer.json, tokenizer_config.json and OUT/gguf/tiny.gguf: three
layers, the first dense, then eight experts of which two are chosen, with the head sizes of the real model (the decode
kernel is compiled for those) and its mix of types: Q4_K, Q6_K for `output` and every `down`, F32 for norms and gates.

The same seed gives the same bytes. Needs numpy, gguf and tokenizers.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

LAYERS, DENSE_LAYERS = 3, 1
HIDDEN, DENSE_WIDTH, EXPERT_WIDTH = 512, 1024, 256
EXPERTS, EXPERTS_PER_TOKEN = 8, 2
HEADS, Q_RANK, KV_RANK, NOPE, ROPE, VALUE = 16, 256, 512, 128, 64, 128
VOCABULARY = 512

SPECIAL = ["<bos>", "<eos>", "<|User|>", "<|Assistant|>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role']=='user' %}<|User|>{{m['content']}}"
    "{% else %}<|Assistant|>{{m['content']}}<eos>{% endif %}{% endfor %}<|Assistant|>"
)
# The Hugging Face folder of DeepSeek-V3 carries its configuration class as remote code; so does this one.
CONFIGURATION = """\
from transformers.configuration_utils import PretrainedConfig

OF_THE_BASE_CLASS = (
    "architectures", "auto_map", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "torch_dtype"
)


class DeepseekV3Config(PretrainedConfig):
    model_type = "deepseek_v3"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, **kw):
        for key in [key for key in kw if key not in OF_THE_BASE_CLASS]:
            setattr(self, key, kw.pop(key))
        super().__init__(**kw)
"""


def write_tokenizer(out: Path) -> dict[str, int]:
    """One token a byte, plus the special ones; returns token to id."""
    vocabulary = {token: i for i, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIAL])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<eos>",
        "model_max_length": 4096,
        "chat_template": CHAT_TEMPLATE,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return vocabulary


def write_config(out: Path, vocabulary: dict[str, int]) -> None:
    """config.json with the keys of DeepSeek-V3's own."""
    config = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": DENSE_WIDTH,
        "moe_intermediate_size": EXPERT_WIDTH,
        "num_hidden_layers": LAYERS,
        "num_nextn_predict_layers": 0,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "n_shared_experts": 1,
        "n_routed_experts": EXPERTS,
        "ep_size": 1,
        "routed_scaling_factor": 2.5,
        "kv_lora_rank": KV_RANK,
        "q_lora_rank": Q_RANK,
        "qk_rope_head_dim": ROPE,
        "v_head_dim": VALUE,
        "qk_nope_head_dim": NOPE,
        "topk_method": "noaux_tc",
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": EXPERTS_PER_TOKEN,
        "moe_layer_freq": 1,
        "first_k_dense_replace": DENSE_LAYERS,
        "norm_topk_prob": True,
        "scoring_func": "sigmoid",
        "aux_loss_alpha": 0.001,
        "seq_aux": True,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": True,
        "pad_token_id": None,
        "bos_token_id": vocabulary["<bos>"],
        "eos_token_id": vocabulary["<eos>"],
        "tie_word_embeddings": False,
        "rope_theta": 10000,
        "rope_scaling": {
            "type": "yarn",
            "factor": 40,
            "original_max_position_embeddings": 4096,
            "beta_fast": 32,
            "beta_slow": 1,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
        "attention_bias": False,
        "attention_dropout": 0.0,
        "torch_dtype": "bfloat16",
    }
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (out / "configuration_deepseek.py").write_text(CONFIGURATION, encoding="utf-8")


class Weights:
    """Adds random tensors to a GGUF file. Blocks are random bytes with scales that keep activations near one."""

    def __init__(self, writer: GGUFWriter) -> None:
        self.writer = writer
        self.random = np.random.default_rng(0)

    def f32(self, name: str, *shape: int, mean: float = 0.0) -> None:
        values = (self.random.standard_normal(shape) * 0.05).astype(np.float32)
        self.writer.add_tensor(name, values + np.float32(mean))

    def q4_k(self, name: str, *shape: int) -> None:
        """144-byte blocks of 256: d, dmin (float16), 12 bytes of 6-bit scales, 128 bytes of 4-bit values."""
        blocks = self._blocks(144, *shape)
        blocks[:, 0:2] = np.full((len(blocks), 1), 0.0008, np.float16).view(np.uint8)
        blocks[:, 2:4] = np.full((len(blocks), 1), 0.006, np.float16).view(np.uint8)
        self._add(name, blocks, shape, GGMLQuantizationType.Q4_K)

    def q6_k(self, name: str, *shape: int) -> None:
        """210-byte blocks of 256: 192 bytes of 6-bit values, 16 signed 8-bit scales, d (float16)."""
        blocks = self._blocks(210, *shape)
        blocks[:, 192:208] = self.random.integers(0, 30, (len(blocks), 16), dtype=np.uint8)
        blocks[:, 208:210] = np.full((len(blocks), 1), 0.0001, np.float16).view(np.uint8)
        self._add(name, blocks, shape, GGMLQuantizationType.Q6_K)

    def _blocks(self, size: int, *shape: int) -> np.ndarray:
        return self.random.integers(0, 256, (int(np.prod(shape)) // 256, size), dtype=np.uint8)

    def _add(self, name: str, blocks: np.ndarray, shape: tuple[int, ...], kind: GGMLQuantizationType) -> None:
        rows = blocks.reshape(*shape[:-1], shape[-1] // 256 * blocks.shape[1])
        self.writer.add_tensor(name, rows, raw_dtype=kind)


def add_layer(weights: Weights, number: int) -> None:
    """The tensors of one layer, under llama.cpp's names for the architecture deepseek2."""
    b = f"blk.{number}."
    weights.f32(b + "attn_norm.weight", HIDDEN, mean=1.0)
    weights.f32(b + "ffn_norm.weight", HIDDEN, mean=1.0)
    weights.q4_k(b + "attn_q_a.weight", Q_RANK, HIDDEN)
    weights.f32(b + "attn_q_a_norm.weight", Q_RANK, mean=1.0)
    weights.q4_k(b + "attn_q_b.weight", HEADS * (NOPE + ROPE), Q_RANK)
    weights.q4_k(b + "attn_kv_a_mqa.weight", KV_RANK + ROPE, HIDDEN)
    weights.f32(b + "attn_kv_a_norm.weight", KV_RANK, mean=1.0)
    weights.q4_k(b + "attn_kv_b.weight", HEADS * (NOPE + VALUE), KV_RANK)
    weights.q4_k(b + "attn_output.weight", HIDDEN, HEADS * VALUE)
    if number < DENSE_LAYERS:
        weights.q4_k(b + "ffn_gate.weight", DENSE_WIDTH, HIDDEN)
        weights.q4_k(b + "ffn_up.weight", DENSE_WIDTH, HIDDEN)
        weights.q6_k(b + "ffn_down.weight", HIDDEN, DENSE_WIDTH)
        return
    weights.f32(b + "ffn_gate_inp.weight", EXPERTS, HIDDEN)
    weights.f32(b + "exp_probs_b.bias", EXPERTS)
    weights.q4_k(b + "ffn_gate_exps.weight", EXPERTS, EXPERT_WIDTH, HIDDEN)
    weights.q4_k(b + "ffn_up_exps.weight", EXPERTS, EXPERT_WIDTH, HIDDEN)
    weights.q6_k(b + "ffn_down_exps.weight", EXPERTS, HIDDEN, EXPERT_WIDTH)
    weights.q4_k(b + "ffn_gate_shexp.weight", EXPERT_WIDTH, HIDDEN)
    weights.q4_k(b + "ffn_up_shexp.weight", EXPERT_WIDTH, HIDDEN)
    weights.q6_k(b + "ffn_down_shexp.weight", HIDDEN, EXPERT_WIDTH)


def write(out: Path) -> None:
    """Write the whole model into the folder `out`."""
    (out / "gguf").mkdir(parents=True, exist_ok=True)
    write_config(out, write_tokenizer(out))
    writer = GGUFWriter(out / "gguf" / "tiny.gguf", "deepseek2")
    weights = Weights(writer)
    weights.q4_k("token_embd.weight", VOCABULARY, HIDDEN)
    weights.q6_k("output.weight", VOCABULARY, HIDDEN)
    weights.f32("output_norm.weight", HIDDEN, mean=1.0)
    for number in range(LAYERS):
        add_layer(weights, number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
