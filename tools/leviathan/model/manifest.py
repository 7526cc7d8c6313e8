"""The model manifest: the names, sizes and hashes of the model's files.

One JSON object, `leviathan-model/1`:

    {"format": "leviathan-model/1",
     "files": [{"name": "Q4_K_M/DeepSeek-V3-Q4_K_M-00001-of-00009.gguf", "size": 48334000000, "sha256": "…"}, …],
     "header": {…}}

`name` is relative to the model's folder, with slashes. `size` is in bytes. `sha256` (64 hexadecimal digits) and
`header` are optional. `header` is the dump of the GGUF header for `leviathan plan` (see leviathan_engine.gguf.dump).
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from leviathan.model.downloaded import ModelError

FORMAT = "leviathan-model/1"
WRITE = "write one from the model's files: leviathan model --folder FOLDER --write-manifest FILE"
KEYS = {"format", "files", "header"}
FILE_KEYS = {"name", "size", "sha256"}


@dataclass(frozen=True)
class ModelFile:
    """One file: its name relative to the model's folder, its size in bytes, its SHA-256 in hex or an empty string."""

    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Manifest:
    """The model's files, sorted by name, and the GGUF header dump as a JSON string, empty if there is none."""

    files: tuple[ModelFile, ...]
    header: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(each.size for each in self.files)

    def json(self) -> str:
        """The text of the manifest file, with one line per model file."""
        lines = [f"    {json.dumps(_entry(each))}" for each in self.files]
        header = f',\n  "header": {self.header}' if self.header else ""
        return f'{{\n  "format": "{FORMAT}",\n  "files": [\n' + ",\n".join(lines) + f"\n  ]{header}\n}}\n"


def read_manifest(path: Path) -> Manifest:
    """The manifest in the file at `path`.

    Errors: ModelError, which names the file and the wrong entry.
    """
    try:
        return parse_manifest(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ModelError("cannot read the model manifest", where=str(path), why=why, remedy=WRITE) from None


def parse_manifest(text: str, where: str = "model manifest") -> Manifest:
    """Parse `text` as a manifest; `where` is for errors. Errors: ModelError."""
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f'expected an object with "format": "{FORMAT}"')
        _only(document, KEYS, "the manifest")
        entries = document.get("files")
        if not isinstance(entries, list) or not entries:
            raise ValueError(f'"files": expected a list of files, got {entries!r:.60}')
        files = tuple(_file(each) for each in entries)
        names = [each.name for each in files]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the file {min(twice)} is listed twice")
        header = document.get("header")
    except ValueError as error:
        raise ModelError("the file is not a model manifest", where=where, why=str(error), remedy=WRITE) from None
    return Manifest(
        tuple(sorted(files, key=lambda each: each.name)), json.dumps(header, separators=(",", ":")) if header else ""
    )


def header_of(text: str) -> str:
    """The GGUF header dump in a manifest's text; empty if `text` is not a manifest. Errors: ModelError."""
    if f'"{FORMAT}"' not in text[:200]:
        return ""
    manifest = parse_manifest(text)
    if not manifest.header:
        raise ModelError(
            "the model manifest has no GGUF header",
            why="it has only the names and sizes of files, but a plan needs the sizes of all tensors",
            remedy=WRITE,
        )
    return manifest.header


def safe_name(name: str) -> bool:
    """Whether `name` is a normalized path below the model's folder, without line breaks."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and name not in ("", ".")
    return inside and name == str(path) and name.isprintable()


def _file(entry: Any) -> ModelFile:
    if not isinstance(entry, dict):
        raise ValueError(f'"files": expected an object with name and size, got {entry!r:.60}')
    name, size, sha256 = entry.get("name"), entry.get("size"), entry.get("sha256", "")
    _only(entry, FILE_KEYS, f"the file {name!r:.80}")
    if not isinstance(name, str) or not safe_name(name):
        raise ValueError(f'"name": expected a path below the model\'s folder, got {name!r:.80}')
    if type(size) is not int or size < 0:
        raise ValueError(f'{name}: "size": expected a number of bytes, got {size!r:.40}')
    if not isinstance(sha256, str) or not re.fullmatch(r"([0-9a-f]{64})?", sha256):
        raise ValueError(f'{name}: "sha256": expected 64 hexadecimal digits, got {sha256!r:.80}')
    return ModelFile(name, size, sha256)


def _only(entry: dict[str, Any], keys: set[str], what: str) -> None:
    if unknown := sorted(set(entry) - keys):
        raise ValueError(f"{what} has unknown keys: {', '.join(unknown)}; allowed: {', '.join(sorted(keys))}")


def _entry(each: ModelFile) -> dict[str, Any]:
    return {"name": each.name, "size": each.size, **({"sha256": each.sha256} if each.sha256 else {})}
