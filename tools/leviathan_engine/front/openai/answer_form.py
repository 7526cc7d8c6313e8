"""The fields for the format of the answer's text: those of OpenAI, vLLM, SGLang and llama.cpp."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from ..api_error import bad
from ..generation.request import UNSUPPORTED_GRAMMAR, Form, JsonObject
from ..requests.field_rules import UNSUPPORTED
from ..requests.json_types import Body, Text
from ..requests.validation import json_type
from .tools import COMBINATION

MOST_CHOICES = 1024
ANY_OBJECT: JsonObject = {"type": "object"}


def _schema_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<schema>" if isinstance(value, dict) else None


# vLLM and SGLang also accept a schema as a string.
Schema = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[dict[str, Any], Tag("<schema>")],
    Discriminator(_schema_kind, custom_error_type="schema", custom_error_message="expected a JSON schema"),
]
Choices = Annotated[list[Text], Field(min_length=1, max_length=MOST_CHOICES)]


class JsonSchema(Body):
    """OpenAI's named schema. The answer follows it, whether `strict` is set or not."""

    name: Text | None = None
    description: Text | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    """OpenAI's field; llama.cpp has `schema` next to `type`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")

    def form(self) -> Form | None:
        """Returns the requested format. Errors: ApiError 400 for a json_schema without a schema."""
        where = "response_format"
        if self.type == "text":
            return None
        if self.json_schema is not None and self.json_schema.schema_ is not None:
            return Form("json", self.json_schema.schema_, f"{where}.json_schema.schema")
        if self.schema_ is not None:
            return Form("json", self.schema_, f"{where}.schema")
        if self.type == "json_schema":
            raise bad(f"{where}.json_schema.schema is missing", where, COMBINATION)
        return Form("json", ANY_OBJECT, where)


class StructuredOutputs(Body):
    """vLLM's field."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": {"enum": [None, False]}})

    json_: Schema | None = Field(None, alias="json")
    json_object: bool | None = None
    regex: Text | None = None
    choice: Choices | None = None
    grammar: Text | None = None

    def forms(self) -> Iterator[Form]:
        """Yields the requested formats. Errors: ApiError 400 for unsupported options."""
        name = "structured_outputs"
        for extra, value in (self.model_extra or {}).items():
            if not (value is None or value is False):
                raise bad(f"{name}.{extra[:100]} is not supported by this server: leave it out", name, UNSUPPORTED)
        yield from _given(f"{name}.json", "json", self.json_)
        yield from _given(f"{name}.json_object", "json", ANY_OBJECT if self.json_object else None)
        yield from _given(f"{name}.regex", "regex", self.regex)
        yield from _given(f"{name}.choice", "choice", self.choice)
        yield from _given(f"{name}.grammar", "grammar", self.grammar)


class FormFields(Body):
    """The fields for the format; at most one may be set."""

    response_format: ResponseFormat | None = Field(None, description="json_object, or json_schema with a schema")
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = Field(None, description="vLLM's older name")
    guided_regex: Text | None = Field(None, description="vLLM's older name")
    guided_choice: Choices | None = Field(None, description="vLLM's older name")
    guided_grammar: Text | None = Field(None, description="vLLM's older name; Lark, or GBNF")
    json_schema: Schema | None = Field(None, description="llama.cpp's and SGLang's name")
    grammar: Text | None = Field(None, description="llama.cpp's name; GBNF, or Lark")
    regex: Text | None = Field(None, description="SGLang's name")
    ebnf: Text | None = Field(None, description="SGLang's name; Lark, or GBNF")

    def form(self) -> Form | None:
        """Returns the format of the answer's text, None: any text. Errors: ApiError 400 for two or invalid formats."""
        forms = list(self._forms())
        if len(forms) > 1:
            raise bad(f"expected {forms[0].where} or {forms[1].where}, got both", forms[1].where, COMBINATION)
        return forms[0] if forms else None

    def _forms(self) -> Iterator[Form]:
        if self.response_format is not None and (form := self.response_format.form()) is not None:
            yield form
        if self.structured_outputs is not None:
            yield from self.structured_outputs.forms()
        kinds = {"guided_json": "json", "json_schema": "json", "guided_regex": "regex", "regex": "regex"}
        kinds |= {"guided_choice": "choice", "guided_grammar": "grammar", "grammar": "grammar", "ebnf": "grammar"}
        for name, kind in kinds.items():
            yield from _given(name, kind, getattr(self, name))


def _given(where: str, kind: str, value: Any) -> Iterator[Form]:
    """Yields the format of a field that is set. Errors: ApiError 400 for a schema that is not a JSON object."""
    if value is None or value == "":
        return
    yield Form(kind, _parsed(where, value) if kind == "json" and isinstance(value, str) else value, where)


def _parsed(where: str, text: str) -> JsonObject:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise bad(
            f"{where}: expected a JSON schema, got a string that is not JSON", where, UNSUPPORTED_GRAMMAR
        ) from err
    if not isinstance(schema, dict):
        raise bad(f"{where}: expected a JSON object, got {json_type(schema)}", where, UNSUPPORTED_GRAMMAR)
    return schema
