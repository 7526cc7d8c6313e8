"""Writes a header as JSON and reads it back, so that the planner runs without the model's files.

One object: `format`, `parts` (name, sizes), `metadata`, `tensors` as rows `[name, type, shape, part, offset]`.
"""

import json
from pathlib import Path
from typing import Any

from leviathan_engine.errors import GgufError

from .model import Model, Part, Tensor
from .types import GgmlType

FORMAT = "leviathan-gguf-header/1"
# Keys of the vocabulary: megabytes that a plan does not need.
VOCABULARY = ("tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type", "tokenizer.ggml.scores")


def dump(model: Model, *, vocabulary: bool = False) -> str:
    """Returns the model's header as JSON. Without `vocabulary`, leaves out the token lists (50 KB instead of 5 MB)."""
    metadata = {k: v for k, v in model.metadata.items() if vocabulary or k not in VOCABULARY}
    document = {
        "format": FORMAT,
        "parts": [[p.path.name, p.file_size, p.version, p.alignment, p.data_offset] for p in model.parts],
        "metadata": metadata,
        "tensors": [[t.name, t.type.name, list(t.shape), t.part, t.offset] for t in model.tensors.values()],
    }
    return json.dumps(document, separators=(",", ":"))


def load(text: str, name: str = "header dump") -> Model:
    """Returns the model of a dump's JSON text; `name` is for messages.

    Errors: GgufError if it is not JSON, not a dump, or has another version.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise GgufError(
                f"{name}: expected the format {FORMAT!r}, got {document['format']!r}",
                "write the dump again: python -m leviathan_engine.gguf MODEL",
            )
        parts = tuple(Part(Path(str(n)), int(a), int(b), int(c), int(d)) for n, a, b, c, d in document["parts"])
        rows = (
            Tensor(str(n), tuple(int(x) for x in shape), GgmlType[kind], int(offset), int(part))
            for n, kind, shape, part, offset in document["tensors"]
        )
        return Model(parts, dict(document["metadata"]), {row.name: row for row in rows})
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise GgufError(
            f"{name}: expected a dump of a GGUF header, got {_other(err)}",
            "write the dump: python -m leviathan_engine.gguf MODEL",
        ) from err


def _other(err: Exception) -> str:
    """What a text is that is not a dump, by the error that its reading gave."""
    if isinstance(err, json.JSONDecodeError):
        return f"a text that is not JSON (line {err.lineno}, column {err.colno})"
    return f"JSON without the field {err.args[0]!r}" if isinstance(err, KeyError) else "JSON of another form"


def read(path: Path) -> Model:
    """Returns the model of the dump at `path`. Errors: GgufError."""
    try:
        return load(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as err:
        raise GgufError(f"cannot read the header dump {path}: {err}", "check the path") from err
