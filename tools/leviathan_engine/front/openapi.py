"""Generates the OpenAPI 3.1 document of /openapi.json.

The request bodies come from the pydantic models that check them; the answers are described here.
"""

from typing import Any

from .openai.chat_body import ChatBody
from .openai.completion_body import CompletionBody
from .openai.rules import CHAT, COMPLETION
from .openai.schema import body_schema
from .other_openapi import other_paths
from .served import Served

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": TEXT,
                "type": TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
MODEL: Schema = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by", "root", "max_model_len", "meta"],
    "properties": {
        "id": TEXT,
        "object": {"enum": ["model"]},
        "created": WHOLE,
        "owned_by": TEXT,
        "root": TEXT | {"description": "name of the model; id may be an alias"},
        "max_model_len": WHOLE | {"description": "tokens of prompt and answer together"},
        "meta": {"type": "object", "required": ["n_ctx", "max_prompt_tokens", "max_new_tokens"]},
    },
}
MODELS: Schema = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"enum": ["list"]}, "data": {"type": "array", "items": MODEL}},
}
HEALTH: Schema = {
    "type": "object",
    "required": ["status", "phase", "bytes_loaded", "percent", "seconds"],
    "properties": {
        "status": {"enum": ["ok", "loading", "stopping", "failed"]},
        "phase": TEXT,
        "bytes_loaded": WHOLE,
        "bytes_read": WHOLE | {"description": "bytes of the model's files that were read ahead of the loader"},
        "percent": {"type": "number", "minimum": 0, "maximum": 100},
        "seconds": {"type": "number", "minimum": 0},
    },
}
READY: Schema = {
    "type": "object",
    "required": ["ready", "phase"],
    "properties": {"ready": {"type": "boolean"}, "phase": TEXT},
}
QUEUE = (
    "One answer is generated at a time. Each client has a queue of its own, and the queues take turns. A client is"
    " identified by its address, its API key, `user` and `safety_identifier` together."
)
HEADERS: Schema = {
    "x-leviathan-clamped": {
        "schema": TEXT,
        "description": "a number of tokens that was lowered to what fits the KV cache",
    },
    "x-leviathan-ignored": {"schema": TEXT, "description": "unknown fields of the request that were ignored"},
}


def document(served: Served | None, vocabulary: int | None = None) -> Schema:
    """Returns the document; with the names and limits of the model, if it is known."""
    key: list[Schema] = [{}, {"key": []}]
    one = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    chat, chat_parts = body_schema(ChatBody, CHAT, served, vocabulary)
    completion, completion_parts = body_schema(CompletionBody, COMPLETION, served, vocabulary)
    others, other_parts = other_paths(served, vocabulary, ERROR, {"security": key})
    return {
        "openapi": "3.1.0",
        "info": {"title": "leviathan", "version": "1", "description": QUEUE},
        "paths": {
            "/health": {"get": _get({"200": HEALTH, "503": HEALTH})},
            "/ready": {"get": _get({"200": READY, "503": READY})},
            "/metrics": {"get": {"responses": {"200": _answer("Prometheus' text", {"text/plain": {"schema": TEXT}})}}},
            "/v1/models": {"get": _get({"200": MODELS, "401": ERROR}) | {"security": key}},
            "/v1/models/{name}": {
                "get": _get({"200": MODEL, "401": ERROR, "404": ERROR}) | {"security": key, "parameters": [one]}
            },
            "/v1/chat/completions": {"post": _post(chat, "chat.completion") | {"security": key}},
            "/v1/completions": {"post": _post(completion, "text_completion") | {"security": key}},
            **others,
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": chat_parts | completion_parts | other_parts,
        },
    }


def _answer(text: str, content: Schema) -> Schema:
    return {"description": text, "content": content}


def _answers(schemas: dict[str, Schema]) -> Schema:
    return {s: _answer(s, {"application/json": {"schema": schema}}) for s, schema in schemas.items()}


def _get(schemas: dict[str, Schema]) -> Schema:
    return {"responses": _answers(schemas)}


def _post(body: Schema, kind: str) -> Schema:
    whole: Schema = {
        "type": "object",
        "required": ["id", "object", "created", "model", "choices", "usage"],
        "properties": {
            "id": TEXT,
            "object": {"enum": [kind]},
            "created": WHOLE,
            "model": TEXT,
            "choices": {"type": "array", "minItems": 1, "items": {"type": "object"}},
            "usage": {
                "type": "object",
                "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
                "properties": {
                    "prompt_tokens": WHOLE,
                    "completion_tokens": WHOLE,
                    "total_tokens": WHOLE,
                    "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": WHOLE}},
                },
            },
        },
    }
    errors = _answers(dict.fromkeys(("400", "401", "404", "408", "413", "429", "500", "503"), ERROR))
    said = {"application/json": {"schema": whole}, "text/event-stream": {}}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": _answer("the answer, or its stream", said) | {"headers": HEADERS}, **errors},
    }
