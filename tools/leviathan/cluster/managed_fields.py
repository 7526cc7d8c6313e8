"""Reads the field paths of server-side apply, in conflicts and in `managedFields`.

Source: sigs.k8s.io/structured-merge-diff, fieldpath: `.spec.containers[name="engine"].image` in messages; in FieldsV1
`f:` is a field, `k:` an entry of a list by its keys, `v:` one of a set by its value, `i:` one by its place, `.` itself.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from leviathan.manifests.files import Object

MISSING = object()
#: Metadata that only the server writes.
SERVERS = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
KEYS = re.compile(r"\[([^\]]*)\]")


def without_servers(each: Object) -> Object:
    """A copy of an object without its status and without fields that only the server writes."""
    kept = {key: deepcopy(value) for key, value in each.items() if key != "status"}
    kept["metadata"] = {key: value for key, value in kept.get("metadata", {}).items() if key not in SERVERS}
    return kept


def value_at(each: Any, field: str) -> Any:
    """The value at a field path of a conflict, or MISSING. Keys may contain dots; the longest matching key counts."""
    if not field:
        return each
    if field.startswith("[") and isinstance(each, list):
        found = KEYS.match(field)
        if found is None:
            return MISSING
        entry = _entry(each, found[1])
        return MISSING if entry is MISSING else value_at(entry, field[found.end() :])
    if not field.startswith(".") or not isinstance(each, dict):
        return MISSING
    rest = field[1:]
    for key in sorted(each, key=len, reverse=True):
        if rest.startswith(key) and rest[len(key) : len(key) + 1] in ("", ".", "["):
            value = value_at(each[key], rest[len(key) :])
            if value is not MISSING:
                return value
    return MISSING


def _entry(entries: list[Any], text: str) -> Any:
    """The entry of a list that `name="x",port=1`, `="x"` or `0` names."""
    if text.isdigit():
        return entries[int(text)] if int(text) < len(entries) else MISSING
    if text.startswith("="):
        return next((each for each in entries if each == _parsed(text[1:])), MISSING)
    keys = {name: _parsed(value) for name, _, value in (part.partition("=") for part in text.split(","))}
    fits = (each for each in entries if isinstance(each, dict) and keys.items() <= each.items())
    return next(fits, MISSING)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def applied_fields(each: Object, manager: str) -> dict[str, Any]:
    """The FieldsV1 that `manager` has by server-side apply, without those of subresources; empty when it has none."""
    for entry in each["metadata"].get("managedFields", []):
        if (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, "Apply", ""):
            fields: dict[str, Any] = entry.get("fieldsV1", {})
            return fields
    return {}


def extract(value: Any, fields: dict[str, Any]) -> Any:
    """The part of `value` that the FieldsV1 `fields` name: what their manager last applied.

    Applying this again as the same manager changes nothing, whereas leaving a field out would remove it.
    """
    inner = {key: sub for key, sub in fields.items() if key != "."}
    if not inner:
        return deepcopy(value)
    if isinstance(value, list):
        found = [_extract_entry(each, place, inner) for place, each in enumerate(value)]
        return [each for each in found if each is not MISSING]
    return {
        key[2:]: extract(value[key[2:]], sub)
        for key, sub in inner.items()
        if key.startswith("f:") and isinstance(value, dict) and key[2:] in value
    }


def _extract_entry(each: Any, place: int, fields: dict[str, Any]) -> Any:
    """The part of one list entry that `fields` name, or MISSING. The order of the list is kept."""
    for key, sub in fields.items():
        kind, _, text = key.partition(":")
        if (kind == "v" and each == json.loads(text)) or (kind == "i" and place == int(text)):
            return deepcopy(each)
        if kind == "k" and isinstance(each, dict) and (keys := json.loads(text)).items() <= each.items():
            return {**keys, **extract(each, sub)} if set(sub) - {"."} else keys
    return MISSING


def extras(value: Any, plain: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Fields that `value` has and `plain` does not, as (field, value).

    Entries of lists are matched by their `name`. Lists without names are skipped.
    """
    if isinstance(value, dict) and isinstance(plain, dict):
        pairs = [(f"{path}.{key}", each, plain.get(key, MISSING)) for key, each in value.items()]
    elif isinstance(value, list) and isinstance(plain, list):
        named = {each["name"]: each for each in plain if isinstance(each, dict) and "name" in each}
        entries = [each for each in value if isinstance(each, dict) and "name" in each]
        pairs = [(f'{path}[name="{each["name"]}"]', each, named.get(each["name"], MISSING)) for each in entries]
    else:
        return
    for field, each, other in pairs:
        if other is MISSING:
            yield field, each
        else:
            yield from extras(each, other, field)
