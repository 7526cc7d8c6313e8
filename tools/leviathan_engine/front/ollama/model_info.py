"""Ollama's information about the model: /api/version, /api/tags, /api/ps and /api/show."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from leviathan_engine.model.chat_prompt import Prompts

from ..generation.request import JsonObject
from ..generation.run import Service
from ..requests.field_rules import FieldRules
from ..requests.json_types import Body, Text
from ..requests.validation import validated
from ..served import Served
from .adapters import named

# The version of Ollama whose API this is; clients refuse servers that are older than what they need.
VERSION = "0.12.0"
FAMILY = "deepseek2"
# With `verbose`, Ollama also returns the tensors; this server does not.
RULES = FieldRules(frozenset({"verbose"}), {"system": ("",), "template": ("",), "options": ({},)})


class ShowBody(Body):
    """The body of /api/show."""

    model: Text | None = None
    name: Text | None = None


def version() -> JsonObject:
    """Returns the answer of /api/version."""
    return {"version": VERSION}


def tags(served: Served | None, created: int) -> JsonObject:
    """Returns the answer of /api/tags: the model under each of its names; none until it is known."""
    return {"models": [_entry(served, name, created) for name in served.names]} if served else {"models": []}


def running(served: Served | None, created: int) -> JsonObject:
    """Returns the answer of /api/ps: the model stays loaded as long as the server runs."""
    if served is None:
        return {"models": []}
    later = {"expires_at": "9999-12-31T00:00:00Z", "size_vram": 0, "context_length": served.model.cache_lens}
    return {"models": [_entry(served, name, created) | later for name in served.names]}


def show_model(body: Mapping[str, Any], service: Service) -> JsonObject:
    """Returns the answer of /api/show. Errors: ApiError 404 for another model."""
    asked = validated(ShowBody, named(body, service.served))
    RULES.judge(asked, ignore_unknown=service.served.ignore_unknown)
    service.served.resolve(asked.model or asked.name)
    return show(service.served, service.prompts)


def show(served: Served, prompts: Prompts) -> JsonObject:
    """Returns the details of the model."""
    model = served.model
    return {
        "modelfile": "",
        "parameters": f"temperature {prompts.temperature:g}\ntop_p {prompts.top_p:g}",
        "template": "",
        "details": _details(),
        "model_info": {
            "general.architecture": FAMILY,
            "general.basename": model.name,
            f"{FAMILY}.block_count": model.layers,
            f"{FAMILY}.context_length": model.cache_lens,
            f"{FAMILY}.vocab_size": prompts.vocabulary,
        },
        "capabilities": _capabilities(prompts),
    }


def _capabilities(prompts: Prompts) -> list[str]:
    """Returns the capabilities that Ollama's clients may use with this model."""
    can = ["completion"]
    if prompts.tools is not None:
        can.append("tools")
    if prompts.template is not None and prompts.template.switches:
        can.append("thinking")
    return can


def _entry(served: Served, name: str, created: int) -> JsonObject:
    return {
        "name": name,
        "model": name,
        "modified_at": _time(created),
        "size": served.model.total_bytes,
        "digest": sha256(name.encode("utf-8", "surrogatepass")).hexdigest(),
        "details": _details(),
    }


def _details() -> JsonObject:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": FAMILY,
        "families": [FAMILY],
        "parameter_size": "",
        "quantization_level": "",
    }


def _time(created: int) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
