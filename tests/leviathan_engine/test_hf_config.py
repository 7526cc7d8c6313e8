"""The Hugging Face folder built from a header: names, numbers, chat template, and nothing that runs code."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest
from tokenizers import Tokenizer  # type: ignore[import-untyped]

from leviathan_engine.errors import EngineError
from leviathan_engine.gguf import Model
from leviathan_engine.model.chat_prompt import load
from leviathan_engine.model.hf_config import build
from leviathan_engine.model.reference import DEEPSEEK_V3, TINY, q4_k_m
from leviathan_engine.model.rendered_chat import ChatPrompt
from leviathan_engine.model.shape import ModelShape

MakeGguf = Callable[..., Path]
TOKENS = ["<s>", "</s>", *"abcdefgh", "ab"]


def with_tokens(shape: ModelShape = TINY, **more: Any) -> Model:
    model = q4_k_m(shape)
    keys = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "deepseek-v3",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3, 3] + [1] * 9,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        **{k.replace("__", "."): v for k, v in more.items()},
    }
    return replace(model, metadata={**model.metadata, **keys})


def test_config_of_deepseek_v3() -> None:
    """DeepSeek-V3's published config.json, less what only its own code or training reads."""
    published = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "first_k_dense_replace": 3,
        "hidden_act": "silu",
        "hidden_size": 7168,
        "initializer_range": 0.02,
        "intermediate_size": 18432,
        "kv_lora_rank": 512,
        "max_position_embeddings": 163840,
        "model_type": "deepseek_v3",
        "moe_intermediate_size": 2048,
        "moe_layer_freq": 1,
        "n_group": 8,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
        "num_attention_heads": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 61,
        "num_key_value_heads": 128,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {
            "beta_fast": 32,
            "beta_slow": 1,
            "factor": 40,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096,
            "type": "yarn",
        },
        "rope_theta": 10000,
        "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid",
        "tie_word_embeddings": False,
        "topk_group": 4,
        "topk_method": "noaux_tc",
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "v_head_dim": 128,
        "vocab_size": 129280,
    }
    config = build(with_tokens(DEEPSEEK_V3)).config
    assert {k: config[k] for k in published} == published
    assert "auto_map" not in config
    # transformers 4.43.2 warns about integers here.
    assert all(type(config["rope_scaling"][k]) is float for k in ("factor", "beta_fast", "beta_slow"))


def test_without_rope_scaling() -> None:
    assert build(with_tokens(replace(TINY, yarn=None))).config["rope_scaling"] is None


def test_the_folder_is_written_and_read_back(tmp_path: Path) -> None:
    folder = build(with_tokens())
    folder.write(tmp_path / "hf")
    names = sorted(p.name for p in (tmp_path / "hf").iterdir())
    assert names == ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    assert json.loads((tmp_path / "hf/config.json").read_text()) == folder.config
    tokenizer = Tokenizer.from_file(str(tmp_path / "hf/tokenizer.json"))
    assert tokenizer.encode("abcab").ids == [0, 10, 4, 10]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot write"):
        build(with_tokens()).write(tmp_path / "file" / "hf")


def test_sampling_defaults_come_from_the_header() -> None:
    plain = build(with_tokens()).generation_config
    assert plain == {"bos_token_id": 0, "eos_token_id": 1, "do_sample": True, "temperature": 0.6, "top_p": 0.95}
    own = build(with_tokens(general__sampling__temp=0.30000001192092896)).generation_config
    assert (own["temperature"], own["top_p"]) == (0.3, 0.95)


def _rendered(template: str, messages: list[dict[str, str]]) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    values = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
    return environment.from_string(template).render(values)


def test_the_chat_template_is_the_headers() -> None:
    folder = build(with_tokens(tokenizer__chat_template="T{{ messages|length }}"))
    assert folder.tokenizer_config["chat_template"] == "T{{ messages|length }}"
    assert folder.notes == ()


@pytest.mark.parametrize(
    ("template", "add", "ids"),
    [
        ("{{ bos_token }}{{ messages[0]['content'] }}", True, [0, 10]),
        ("{{ messages[0]['content'] }}", True, [0, 10]),
        ("{{ messages[0]['content'] }}", False, [10]),
        ("{{ bos_token }}{{ messages[0]['content'] }}", False, [0, 10]),
    ],
)
def test_a_chat_begins_with_the_first_token_once(tmp_path: Path, template: str, add: bool, ids: list[int]) -> None:
    """Whether the template writes it or not, as llama.cpp does with a GGUF's template; none where none is wanted."""
    build(with_tokens(tokenizer__chat_template=template, tokenizer__ggml__add_bos_token=add)).write(tmp_path)
    prompts = load(tmp_path)
    try:
        assert prompts.chat(ChatPrompt(({"role": "user", "content": "ab"},)), 400)[0] == ids
    finally:
        prompts.close()


def test_a_template_of_the_header_that_is_none(tmp_path: Path) -> None:
    build(with_tokens(tokenizer__chat_template="{% if x %}")).write(tmp_path)
    with pytest.raises(EngineError, match=r"tokenizer_config\.json: chat_template: .*--chat_template"):
        load(tmp_path)
    build(with_tokens()).write(tmp_path)
    assert load(tmp_path).template is not None


def test_a_header_without_template_gets_deepseek_v3s_form() -> None:
    folder = build(with_tokens())
    assert any("chat_template is not in the file" in note for note in folder.notes)
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    bar = "\uff5c"
    assert _rendered(folder.tokenizer_config["chat_template"], talk) == (
        f"<s>Be brief.<{bar}User{bar}>Hi<{bar}Assistant{bar}>Hello</s><{bar}User{bar}>Bye<{bar}Assistant{bar}>"
    )


def test_more_tokens_than_rows_is_noted() -> None:
    small = build(with_tokens(replace(TINY, vocab=8)))
    assert any("11 tokens, the embedding has 8 rows" in note for note in small.notes)
