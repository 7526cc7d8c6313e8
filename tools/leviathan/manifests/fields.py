"""Reads and sets fields of a manifest by their paths; a field that is set must be there."""

from collections.abc import Sequence
from typing import Any

from leviathan.errors import RenderError
from leviathan.manifests.files import Object

POD = ("spec", "template", "spec")
ENGINE = (*POD, "containers", "[engine]")
_NOTHING = object()


def get_field(each: Any, path: Sequence[str]) -> Any:
    """The value at `path`: keys, list places ("0"), and "[name]" for the entry of a list that has this name.

    Errors: RenderError when there is none.
    """
    found: Any = each
    for step in path:
        if isinstance(found, dict):
            found = found.get(step, _NOTHING)
        elif isinstance(found, list) and step.startswith("["):
            found = next((entry for entry in found if entry.get("name") == step[1:-1]), _NOTHING)
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            found = _NOTHING
        if found is _NOTHING:
            raise no_field(each, path)
    return found


def set_field(each: Object, path: Sequence[str], value: Any) -> None:
    """Replace the value at `path`, which must be there. Errors: RenderError when it is not."""
    get_field(each, path)
    get_field(each, path[:-1])[path[-1]] = value


def no_field(each: Object, path: Sequence[str]) -> RenderError:
    """The error for a field that the template has to have."""
    name = f"{each['kind']} {each['metadata'].get('name', '')}"
    return RenderError(
        "the manifest lacks a field that is to be set", where=f"{name}, {'.'.join(path)}", remedy="add it in manifests/"
    )
