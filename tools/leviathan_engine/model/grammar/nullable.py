"""OpenAPI 3.0's `nullable` in JSON Schema's own words, since llguidance lets the keyword through and does nothing."""

from collections.abc import Mapping
from typing import Any

# Where a schema has schemas, by what stands there: one of them (or a boolean), a list of them, an object of them.
ONE = {"additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"}
LIST = {"allOf", "anyOf", "items", "oneOf", "prefixItems"}
BY_NAME = {"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"}


def without_nullable(schema: Any) -> Any:
    """`schema` with null among the types, and the values of `enum`, of each part that has a type and is `nullable`.

    A `nullable` without a type changes nothing there, as OpenAPI 3.0.3 has it. Errors: RecursionError.
    """
    if not isinstance(schema, Mapping):
        return schema
    out = {key: _inside(key, value) for key, value in schema.items()}
    if out.get("nullable") is True and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
        if isinstance(out.get("enum"), list) and None not in out["enum"]:
            out["enum"] = [*out["enum"], None]
    return out


def _inside(key: str, value: Any) -> Any:
    if key in LIST and isinstance(value, list):
        return [without_nullable(one) for one in value]
    if key in BY_NAME and isinstance(value, Mapping):
        return {name: without_nullable(one) for name, one in value.items()}
    return without_nullable(value) if key in ONE else value
