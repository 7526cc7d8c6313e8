"""KTransformers' own flags, of which few do anything behind our own loop; what would be ignored in silence is refused.

The lists are those of `ktransformers/server/args.py` of 0.2.1.post1; a test in tests/engine compares them with it.
"""

from collections.abc import Sequence

from leviathan_engine.errors import UsageError

# Flags that the launcher's command line sets itself: after `--` they would contradict it.
OWN = frozenset(
    (
        *("--model_path", "--model_dir", "--gguf_path", "--model_name", "--optimize_config_path"),
        *("--host", "--port", "--cpu_infer", "--gpu_split", "--cache_lens", "--max_new_tokens"),
    )
)
EFFECTIVE = frozenset(("--device", "--log_dir", "--log_file", "--log_level", "--backup_count"))
SAMPLING = frozenset(("--temperature", "--top_p"))
# Of upstream's HTTP server, database, users and sampling, and of backends that are not used here.
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
    """Checks what stands after `--`. Flags that upstream does not know are left for it to refuse.

    Errors: UsageError for a flag that is set before `--`, one that does nothing here, and one that is cut short:
    argparse would take it for the only one that it can be.
    """
    for word in words:
        given = word.partition("=")[0]
        name = _whole(given)
        if name in OWN:
            short = "" if given == name else f" as {given}"
            raise UsageError(f"{name} stands after --{short}", f"put {name} before --: it is set from there")
        if name in SAMPLING:
            raise UsageError(
                f"{name} after -- changes no answer", "give it in the request, or in the model's generation_config.json"
            )
        if name in IDLE:
            raise UsageError(f"{name} after -- does nothing here", "drop it: the front answers, one request at a time")
        if given != name:
            raise UsageError(f"{given} after -- is short for {name}", f"write {name}")


def _whole(given: str) -> str:
    """The flag that argparse takes `given` for; `given` itself where it is none, or could be several."""
    if given in KNOWN or not given.startswith("--") or given == "--":
        return given
    found = [name for name in KNOWN if name.startswith(given)]
    return found[0] if len(found) == 1 else given
