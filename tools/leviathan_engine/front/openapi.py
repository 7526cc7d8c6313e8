"""The OpenAPI 3.0 document of the front, answered at /openapi.json: the routes, what is checked, what is answered."""

from typing import Any

from leviathan_engine.wire import ServedModel

from . import request

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
                "param": {"type": "string", "nullable": True},
                "code": {"type": "string", "nullable": True},
            },
        }
    },
}
MODEL: Schema = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {"id": TEXT, "object": {"enum": ["model"]}, "created": WHOLE, "owned_by": TEXT},
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
    "One answer is generated at a time; who waits does so in a line of the client's own, and the lines take turns. A"
    " client is told by its address, the bearer token, `user` and `safety_identifier` together."
)


def document(model: ServedModel | None) -> Schema:
    """The document; with `model` its name and its limits in tokens are in it."""
    key: list[Schema] = [{}, {"key": []}]
    one = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return {
        "openapi": "3.0.3",
        "info": {"title": "leviathan", "version": "1", "description": QUEUE},
        "paths": {
            "/health": {"get": _get({"200": HEALTH, "503": HEALTH})},
            "/ready": {"get": _get({"200": READY, "503": READY})},
            "/metrics": {"get": {"responses": {"200": _answer("Prometheus' text", {"text/plain": {"schema": TEXT}})}}},
            "/v1/models": {"get": _get({"200": MODELS, "401": ERROR}) | {"security": key}},
            "/v1/models/{name}": {
                "get": _get({"200": MODEL, "401": ERROR, "404": ERROR}) | {"security": key, "parameters": [one]}
            },
            "/v1/chat/completions": {"post": _post(_chat(model), "chat.completion") | {"security": key}},
            "/v1/completions": {"post": _post(_completion(model), "text_completion") | {"security": key}},
        },
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _answer(text: str, content: Schema) -> Schema:
    return {"description": text, "content": content}


def _ranged(kind: str, limits: tuple[int, int]) -> Schema:
    return {"type": kind, "minimum": limits[0], "maximum": limits[1]}


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
            "choices": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "object"}},
            "usage": {
                "type": "object",
                "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
                "properties": {"prompt_tokens": WHOLE, "completion_tokens": WHOLE, "total_tokens": WHOLE},
            },
        },
    }
    errors = _answers(dict.fromkeys(("400", "401", "404", "408", "413", "429", "500", "503"), ERROR))
    said = {"application/json": {"schema": whole}, "text/event-stream": {}}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": _answer("the answer, or its stream", said), **errors},
    }


def _chat(model: ServedModel | None) -> Schema:
    part = {
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"enum": ["text"]}, "text": TEXT},
    }
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"enum": sorted(request.ROLES)},
            "content": {"oneOf": [TEXT, {"type": "array", "items": part}]},
        },
    }
    messages = {"type": "array", "minItems": 1, "maxItems": request.MAX_MESSAGES, "items": message}
    return _body(model, {"messages": messages})


def _completion(model: ServedModel | None) -> Schema:
    ids = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}
    prompt = {"oneOf": [{"type": "string", "minLength": 1}, ids]}
    return _body(model, {"prompt": prompt, "echo": {"type": "boolean"}})


def _body(model: ServedModel | None, own: Schema) -> Schema:
    tokens = WHOLE | {"minimum": 1} | ({"maximum": model.max_new_tokens} if model else {})
    stop = {"type": "string", "minLength": 1, "maxLength": request.MAX_STOP_CHARACTERS}
    return {
        "type": "object",
        "required": ["model", *(name for name in own if name != "echo")],
        "properties": {
            "model": {"enum": [model.name]} if model else TEXT,
            **own,
            "temperature": _ranged("number", request.TEMPERATURE),
            "top_p": _ranged("number", request.TOP_P),
            "max_tokens": tokens,
            "max_completion_tokens": tokens,
            "seed": _ranged("integer", request.SEED),
            "stop": {"oneOf": [stop, {"type": "array", "maxItems": request.MAX_STOPS, "items": stop}]},
            "stream": {"type": "boolean"},
            "user": TEXT | {"description": "whose line in the queue, beside the address and the bearer token"},
            "safety_identifier": TEXT | {"description": "as user"},
        },
    }
