"""Reads the small JSON files of a Hugging Face folder."""

import json
from pathlib import Path
from typing import Any

from leviathan_engine.errors import EngineError


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a file; an empty one if the file is missing or has no object. Errors: EngineError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise EngineError(f"cannot read {path}: {err}", "check the Hugging Face folder") from err
    return document if isinstance(document, dict) else {}


def end_tokens(folder: Path) -> tuple[int, ...]:
    """Returns the ids that end an answer, from generation_config.json or else config.json. Errors: EngineError."""
    generation, config = read_json(folder / "generation_config.json"), read_json(folder / "config.json")
    ends = generation.get("eos_token_id", config.get("eos_token_id"))
    return tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,)
