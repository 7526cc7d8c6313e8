"""The paths of the other APIs in the OpenAPI document: Responses, Messages, Ollama's, and the tokenizer's endpoints."""

from typing import Any

from .anthropic import body as anthropic
from .ollama import body as ollama
from .ollama import model_info as ollama_models
from .openai.chat_body import ChatBody
from .openai.rules import CHAT
from .openai.schema import body_schema
from .requests.field_rules import FieldRules
from .requests.json_types import Body
from .responses import body as responses
from .served import Served
from .tokens import answers as tokens

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
OLLAMA_ERROR: Schema = {"type": "object", "required": ["error"], "properties": {"error": TEXT, "code": NAME}}
ANTHROPIC_ERROR: Schema = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"enum": ["error"]},
        "error": {"type": "object", "required": ["type", "message"], "properties": {"type": TEXT, "code": NAME}},
    },
}
RESPONSE: Schema = {
    "type": "object",
    "required": ["id", "object", "created_at", "status", "model", "output", "usage"],
    "properties": {"object": {"enum": ["response"]}, "output": {"type": "array", "items": {"type": "object"}}},
}
MESSAGE: Schema = {
    "type": "object",
    "required": ["id", "type", "role", "model", "content", "stop_reason", "usage"],
    "properties": {"type": {"enum": ["message"]}, "content": {"type": "array", "items": {"type": "object"}}},
}
OLLAMA_ANSWER: Schema = {
    "type": "object",
    "required": ["model", "created_at", "done"],
    "properties": {"done": {"enum": [True]}, "message": {"type": "object"}, "response": TEXT},
}
TOKENS: Schema = {
    "type": "object",
    "required": ["tokens", "count", "max_model_len"],
    "properties": {"tokens": {"type": "array"}, "count": COUNT, "max_model_len": COUNT},
}
FAILURES = ("400", "401", "404", "408", "413", "429", "500", "503")


def other_paths(served: Served | None, vocabulary: int | None, error: Schema, key: Schema) -> tuple[Schema, Schema]:
    """Returns the paths, and the schemas that they refer to. `error`: OpenAI's error; `key`: the security scheme."""
    parts: Schema = {}

    def body(kind: type[Body], rules: FieldRules, prefix: str) -> Schema:
        schema, named = body_schema(kind, rules, served, vocabulary, prefix)
        parts.update(named)
        return schema

    def post(body: Schema, answer: Schema, failure: Schema = error, stream: str = "") -> Schema:
        said = _content(answer) | ({stream: {}} if stream else {})
        answers = {"200": {"description": "the answer", "content": said}}
        answers |= {code: {"description": code, "content": _content(failure)} for code in FAILURES}
        return {"post": {"requestBody": {"required": True, "content": _content(body)}, "responses": answers} | key}

    def get(answer: Schema) -> Schema:
        answers = {code: {"description": code, "content": _content(error)} for code in ("401",)}
        return {"get": {"responses": {"200": {"description": "200", "content": _content(answer)}} | answers} | key}

    events, lines = "text/event-stream", "application/x-ndjson"
    chat = body(ChatBody, CHAT, "")
    shown = chat | {"properties": chat["properties"] | {name: {} for name in tokens.SHOWN}}
    text = _one_of_two(body(tokens.TokenizeBody, tokens.RULES, "Tokens"))
    models: Schema = {"type": "object", "required": ["models"], "properties": {"models": {"type": "array"}}}
    paths = {
        "/v1/responses": post(body(responses.ResponsesBody, responses.RULES, "Responses"), RESPONSE, stream=events),
        "/v1/messages": post(
            body(anthropic.MessagesBody, anthropic.RULES, "Anthropic"), MESSAGE, ANTHROPIC_ERROR, events
        ),
        "/v1/messages/count_tokens": post(
            body(anthropic.CountBody, anthropic.RULES, "Anthropic"), _object(input_tokens=COUNT), ANTHROPIC_ERROR
        ),
        "/api/chat": post(
            _tagged(body(ollama.ChatBody, ollama.RULES, "OllamaChat")), OLLAMA_ANSWER, OLLAMA_ERROR, lines
        ),
        "/api/generate": post(
            _tagged(body(ollama.GenerateBody, ollama.RULES, "OllamaGenerate")), OLLAMA_ANSWER, OLLAMA_ERROR, lines
        ),
        "/api/show": post(
            _tagged(body(ollama_models.ShowBody, ollama_models.RULES, "OllamaShow")),
            _object(details={"type": "object"}, model_info={"type": "object"}, capabilities={"type": "array"}),
            OLLAMA_ERROR,
        ),
        "/api/tags": get(models),
        "/api/ps": get(models),
        "/api/version": get(_object(version=TEXT)),
        "/tokenize": post({"anyOf": [*text, shown]}, TOKENS),
        "/detokenize": post(body(tokens.DetokenizeBody, tokens.RULES, "Tokens"), _object(prompt=TEXT, content=TEXT)),
        "/apply-template": post(shown, _object(prompt=TEXT)),
    }
    return paths, parts


def _content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _one_of_two(schema: Schema) -> list[Schema]:
    """Returns the alternatives of a body: the text is in `prompt` or in `content`."""
    own = schema["properties"]
    return [schema | {"required": [name], "properties": own | {name: TEXT}} for name in ("prompt", "content")]


def _tagged(schema: Schema) -> Schema:
    """Returns the schema with Ollama's model names, which may end in a tag."""
    model = schema["properties"]["model"]
    if "enum" in model:
        names = [*model["enum"], *(f"{name}{ollama.LATEST}" for name in model["enum"] if name)]
        schema["properties"]["model"] = model | {"enum": names}
    return schema
