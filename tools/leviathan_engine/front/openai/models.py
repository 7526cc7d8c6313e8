"""The bodies of /v1/models: the served model under its name and its aliases, with the size of its context."""

from ..generation.request import JsonObject
from ..served import Served


def model_list(served: Served | None, created: int) -> JsonObject:
    """All names; none while the model loads."""
    names = served.names if served else ()
    return {"object": "list", "data": [model_entry(served, name, created) for name in names if served]}


def model_entry(served: Served, name: str, created: int) -> JsonObject:
    """One name. `max_model_len` is vLLM's field, `meta` llama.cpp's; lengths in tokens, size in bytes."""
    model = served.model
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "leviathan",
        "root": model.name,
        "parent": None,
        "max_model_len": model.cache_lens,
        "meta": {
            "n_ctx": model.cache_lens,
            "n_layer": model.layers,
            "size": model.total_bytes,
            "max_prompt_tokens": model.longest_prompt,
            "max_new_tokens": model.max_new_tokens,
        },
    }
