"""Generates the JSON Schema of the site file, which editors use for completion and validation.

Source: JSON Schema, draft 2020-12. Taplo and Even Better TOML find it through the first line, `#:schema PATH`.
"""

import json
import typing
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from leviathan.site.keys import Spec

#: The checked-in copy. A test compares it with the code.
FILE = Path(__file__).with_name("site.schema.json")
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def schema(specs: Sequence[Spec], defaults: dict[str, dict[str, Any]], renamed: dict[str, str]) -> dict[str, Any]:
    """The schema of a site file.

    Arguments: `specs`, every key; `defaults`, {section: {key: value}}; `renamed`, old path → current path; the schema
    accepts both.
    """
    sections: dict[str, dict[str, Any]] = {}
    for spec in specs:
        entry = {**_type(spec), "description": spec.key.help, "default": defaults[spec.section][spec.name]}
        sections.setdefault(spec.section, {})[spec.name] = entry
    for old, today in renamed.items():
        section, name = old.split(".")
        now, leaf = today.split(".")
        entry = {**sections[now][leaf], "deprecated": True, "description": f"now called {today}"}
        sections.setdefault(section, {})[name] = entry
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "leviathan site",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"type": "object", "additionalProperties": False, "properties": keys}
            for name, keys in sections.items()
        },
    }


def text(document: dict[str, Any]) -> str:
    """The text of the checked-in file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _type(spec: Spec) -> dict[str, Any]:
    type_, more = spec.type, dict(spec.key.schema)
    if isinstance(type_, type) and issubclass(type_, Enum):
        return {"enum": [member.value for member in type_]}
    if typing.get_origin(type_) is tuple:
        return {"type": "array", "items": {"type": TYPES[typing.get_args(type_)[0]]}, **more}
    return {"type": TYPES[type_], **more}
