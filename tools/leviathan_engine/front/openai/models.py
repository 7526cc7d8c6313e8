"""The answers of /v1/models: the served model under its name and its aliases, with the size of its context.

OpenAI's and Anthropic's clients use the same path, so the answers have the fields of both, which do not conflict.
"""

from datetime import UTC, datetime

from ..generation.request import JsonObject
from ..served import Served


def model_list(served: Served | None, created: int) -> JsonObject:
    """Returns the list of all names; empty while the model loads."""
    names = served.names if served else ()
    entries = [model_entry(served, name, created) for name in names if served]
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None, "has_more": False}
    return {"object": "list", "data": entries, **ends}


def model_entry(served: Served, name: str, created: int) -> JsonObject:
    """Returns the entry of one name. Lengths are in tokens, the size in bytes.

    `max_model_len` is vLLM's field, `meta` llama.cpp's; `type`, `display_name`, `created_at` and the limits in tokens
    are Anthropic's.
    """
    model = served.model
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "leviathan",
        "root": model.name,
        "parent": None,
        "type": "model",
        "display_name": name,
        "created_at": datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z"),
        "max_input_tokens": model.longest_prompt,
        "max_tokens": model.max_new_tokens,
        "max_model_len": model.cache_lens,
        "meta": {
            "n_ctx": model.cache_lens,
            "n_layer": model.layers,
            "size": model.total_bytes,
            "max_prompt_tokens": model.longest_prompt,
            "max_new_tokens": model.max_new_tokens,
        },
    }
