"""KTransformers' own flags. Few of them have an effect here; the others are refused instead of silently ignored.

The lists are from `ktransformers/server/args.py` of 0.2.1.post1; a test in tests/engine compares them.
"""

from collections.abc import Sequence

from leviathan_engine.errors import UsageError

# Flags that the launcher sets: after `--` they would contradict it.
OWN = frozenset(
    (
        *("--model_path", "--model_dir", "--gguf_path", "--model_name", "--optimize_config_path"),
        *("--host", "--port", "--cpu_infer", "--gpu_split", "--cache_lens", "--max_new_tokens"),
    )
)
EFFECTIVE = frozenset(("--device", "--log_dir", "--log_file", "--log_level", "--backup_count"))
SAMPLING = frozenset(("--temperature", "--top_p"))
# Flags of upstream's HTTP server, database, users and sampling, and of backends that are not used here.
IDLE_NAMES = """
amnesia assistant_store_dir ban_strings batch_size botname cache_8bit cache_q4 db_database db_host db_name db_pool_size
db_port db_type draft_model_dir dynamic_temperature experts_per_token fast_safetensors file_upload_dir force_think
frequency_penalty healing json_mode length load_q4 low_mem max_batch_size max_chunk_size max_response_tokens mode modes
ngram_decoding no_code_formatting no_draft_scale no_flash_attn paged presence_penalty print_timings prompt_file
repetition_penalty response_chunk rope_alpha rope_scale skew smoothing_factor ssl_certfile ssl_keyfile system_prompt
top_a top_k total_context type typical user_algorithm user_secret_key username web web_cross_domain
"""
IDLE = frozenset(f"--{name}" for name in IDLE_NAMES.split())
KNOWN = OWN | EFFECTIVE | SAMPLING | IDLE


def check(words: Sequence[str]) -> None:
    """Checks the flags after `--`. KTransformers itself refuses flags that it does not know.

    Errors: UsageError for a flag that belongs before `--`, a flag without effect, and an abbreviated flag, which
    argparse would expand.
    """
    for word in words:
        given = word.partition("=")[0]
        name = _whole(given)
        if name in OWN:
            short = "" if given == name else f" (as {given})"
            raise UsageError(f"{name} is given after --{short}", f"move {name} before --")
        if name in SAMPLING:
            raise UsageError(
                f"{name} has no effect after --", "set it in the request, or in the model's generation_config.json"
            )
        if name in IDLE:
            raise UsageError(
                f"{name} has no effect after --: KTransformers' own HTTP server does not run here", f"remove {name}"
            )
        if given != name:
            raise UsageError(f"{given} after -- is an abbreviation of {name}", f"write {name}")


def _whole(given: str) -> str:
    """Returns the flag to which argparse expands `given`; `given` itself if it expands to none or to several."""
    if given in KNOWN or not given.startswith("--") or given == "--":
        return given
    found = [name for name in KNOWN if name.startswith(given)]
    return found[0] if len(found) == 1 else given
