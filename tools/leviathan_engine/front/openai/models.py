"""The bodies of /v1/models: the served model under its name and its aliases, with the size of its context.

OpenAI's and Anthropic's clients ask at the same path, so the fields of both are there; no name means two things.
"""

from datetime import UTC, datetime

from ..generation.request import JsonObject
from ..served import Served


def model_list(served: Served | None, created: int) -> JsonObject:
    """All names; none while the model loads."""
    names = served.names if served else ()
    entries = [model_entry(served, name, created) for name in names if served]
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None, "has_more": False}
    return {"object": "list", "data": entries, **ends}


def model_entry(served: Served, name: str, created: int) -> JsonObject:
    """One name. `max_model_len` is vLLM's field, `meta` llama.cpp's; lengths in tokens, size in bytes.

    `type`, `display_name`, `created_at` and the limits in tokens are Anthropic's.
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
