"""Generates the JSON schemas of request bodies from the pydantic models and the rules for other fields.

Limits that depend on the loaded model (its name, its vocabulary, its context) are filled in when it is known.
"""

from typing import Any

from ..requests.field_rules import FieldRules
from ..requests.json_types import CONTEXT, VOCABULARY, Body
from ..served import Served

Schema = dict[str, Any]
REFERENCES = "#/components/schemas/"


def body_schema(
    kind: type[Body], rules: FieldRules, served: Served | None, vocabulary: int | None, prefix: str = ""
) -> tuple[Schema, Schema]:
    """Returns the schema of a body, and the schemas that it refers to by name, each with `prefix`."""
    schema = kind.model_json_schema(ref_template=REFERENCES + prefix + "{model}")
    named: Schema = {prefix + name: part for name, part in schema.pop("$defs", {}).items()}
    own: Schema = schema["properties"]
    for name in sorted(rules.let_through - own.keys()):
        own[name] = {"description": "accepted, without effect on the answer"}
    for name, values in sorted(rules.neutral.items()):
        if name not in own and "." not in name:
            own[name] = {
                "enum": [None, *values],
                "description": "not supported: only the values that have no effect are accepted",
            }
    schema["additionalProperties"] = bool(served and served.ignore_unknown)
    if served and not served.any_model and "model" in own:
        free = "model" not in schema.get("required", ())
        own["model"] = own["model"] | {"enum": [*([None] if free else []), *served.names]}
        own["model"].pop("anyOf", None)
    for part in (schema, named):
        _fill(part, served, vocabulary)
    return schema, named


def _fill(part: Any, served: Served | None, vocabulary: int | None) -> None:
    """Replaces the placeholders of json_types.py by numbers, or removes them while the model is not known."""
    if isinstance(part, list):
        for item in part:
            _fill(item, served, vocabulary)
    elif isinstance(part, dict):
        if part.pop(VOCABULARY, False) is True and vocabulary:
            part["maximum"] = vocabulary - 1
        if part.pop(CONTEXT, False) is True and served:
            part["maxItems"] = served.model.longest_prompt
        for item in part.values():
            _fill(item, served, vocabulary)
