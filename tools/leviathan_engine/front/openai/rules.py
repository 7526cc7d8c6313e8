"""Rules for fields of OpenAI, vLLM, SGLang, llama.cpp and OpenRouter that the request models do not declare."""

from typing import Any

from ..requests.field_rules import FieldRules

# These change where, when or how cheaply a request is served, or what is logged, but never the answer.
LET_THROUGH = frozenset(
    {
        # OpenAI
        *("metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention", "prediction"),
        "stream_reasoning",
        # vLLM
        *("request_id", "priority", "cache_salt", "guided_decoding_backend"),
        *("mm_processor_kwargs", "data_parallel_rank"),
        # SGLang
        *("rid", "extra_key", "bootstrap_host", "bootstrap_port", "bootstrap_room", "max_dynamic_patch"),
        # llama.cpp; tau, eta, exponent, threshold and dry_* only have an effect if their sampler is on
        *("cache_prompt", "id_slot", "n_keep", "n_discard", "mirostat_tau", "mirostat_eta"),
        *("dynatemp_exponent", "xtc_threshold", "dry_base", "dry_allowed_length", "dry_penalty_last_n"),
        *("dry_sequence_breakers", "preserved_tokens", "speculative.n_max", "speculative.n_min", "speculative.p_min"),
        # OpenRouter, Open WebUI: these choose a provider, and name the conversation
        *("provider", "models", "route", "transforms", "usage", "chat_id", "session_id", "trace"),
    }
)
OFF: tuple[Any, ...] = (False,)
NOTHING: tuple[Any, ...] = ()
NEUTRAL: dict[str, tuple[Any, ...]] = {
    # OpenAI
    "functions": ([],),
    "function_call": ("none", "auto"),
    "audio": NOTHING,
    "modalities": (["text"],),
    "web_search_options": NOTHING,
    "verbosity": ("medium",),
    # vLLM and SGLang
    "stream_options.continuous_usage_stats": OFF,
    "length_penalty": (1,),
    "use_beam_search": OFF,
    "early_stopping": OFF,
    "include_stop_str_in_output": OFF,
    "no_stop_trim": OFF,
    "stop_regex": ([],),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "truncate_prompt_tokens": NOTHING,
    "prompt_logprobs": NOTHING,
    "allowed_token_ids": NOTHING,
    "bad_words": ([],),
    "logits_processors": ([],),
    "custom_logit_processor": NOTHING,
    "custom_params": NOTHING,
    "vllm_xargs": ({},),
    "kv_transfer_params": NOTHING,
    "return_tokens_as_token_ids": OFF,
    "return_token_ids": OFF,
    "return_hidden_states": OFF,
    "return_prompt_token_ids": OFF,
    "return_meta_info": OFF,
    "lora_path": NOTHING,
    "session_params": NOTHING,
    "input_ids": NOTHING,
    "structural_tag": NOTHING,
    "guided_whitespace_pattern": NOTHING,
    # llama.cpp
    "parse_tool_calls": (True,),
    "min_keep": (0, 1),
    "repeat_last_n": NOTHING,
    "penalize_nl": OFF,
    "n_cmpl": (1,),
    "n_probs": (0,),
    "n_indent": (0,),
    "post_sampling_probs": OFF,
    "return_tokens": OFF,
    "timings_per_token": OFF,
    "response_fields": ([],),
    "samplers": NOTHING,
    "t_max_predict_ms": (0, -1),
    "mirostat": (0,),
    "dynatemp_range": (0,),
    "xtc_probability": (0,),
    "dry_multiplier": (0,),
    "top_n_sigma": (0, -1),
    "tfs_z": (1,),
    "top_a": (0,),
    "lora": ([],),
    "image_data": ([],),
    "grammar_lazy": OFF,
    "grammar_triggers": ([],),
    # OpenRouter
    "plugins": ([],),
}
CHAT = FieldRules(
    LET_THROUGH,
    NEUTRAL
    | {
        "echo": OFF,
        "best_of": (1,),
        "suffix": NOTHING,
        "prompt": NOTHING,
        "add_special_tokens": OFF,
        "chat_template": NOTHING,
        **dict.fromkeys(("thinking_forced_open",), NOTHING),
    },
)
COMPLETION = FieldRules(
    LET_THROUGH,
    NEUTRAL
    | {"messages": NOTHING, "add_special_tokens": (True,)}
    | {"tools": ([],), "tool_choice": ("none", "auto"), "parallel_tool_calls": (True, False)},
)
