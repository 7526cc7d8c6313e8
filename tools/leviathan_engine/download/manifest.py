"""Writes the model manifest (`leviathan-model/1`) of a download, for `leviathan model` to compare with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from leviathan_engine.gguf import dump, read_model

from .part import disk_error
from .source import RemoteFile

FORMAT = "leviathan-model/1"
NAME = "leviathan-model.json"


def write_manifest(folder: Path, files: Sequence[RemoteFile], digests: Mapping[str, str]) -> str:
    """Writes `leviathan-model.json` into the model's folder, and returns the GGUF header dump in it.

    Reads the model as the engine does, so files that are not a model fail here. Errors: EngineError.
    """
    header = dump.dump(read_model(folder))
    document = {
        "format": FORMAT,
        "files": [{"name": each.name, "size": each.size, "sha256": digests[each.name]} for each in files],
        "header": json.loads(header),
    }
    target = folder / NAME
    temporary = target.with_suffix(".json.new")
    try:
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        raise disk_error(target, error) from None
    return header
