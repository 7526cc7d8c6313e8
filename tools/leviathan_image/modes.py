"""What a Nix store cannot hold: setuid bits, owners, sticky folders, folders that are empty on purpose."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_image import jsonfile
from leviathan_image.errors import ImageError


@dataclass(frozen=True, slots=True)
class Mode:
    """The mode (a number up to 0o7777), owner and group of one path; `directory` makes the folder if no tree has it."""

    mode: int
    uid: int = 0
    gid: int = 0
    directory: bool = False


def read_modes(path: Path | None) -> dict[str, Mode]:
    """The table in `path`: `{"usr/bin/su": {"mode": "4755", "uid": 0, "gid": 0}, "tmp": {"mode": "1777", "type":
    "dir"}}`. Keys are paths in the image, a leading slash is dropped; `mode` is octal; `uid` and `gid` default to 0;
    `"type": "dir"` also creates the folder. No file gives an empty table. Raises ImageError on anything else.
    """
    if path is None:
        return {}
    return {_path(path, key): _mode(f"{path}: {key}", value) for key, value in jsonfile.read_object(path).items()}


def _path(table: Path, key: str) -> str:
    parts = key.strip("/").split("/")
    if not key.strip("/") or any(part in {"", ".", ".."} for part in parts):
        raise ImageError(f"{table} names the path {key!r}", "write it as in the image: usr/bin/su")
    return "/".join(parts)


def _mode(where: str, value: object) -> Mode:
    if not isinstance(value, Mapping):
        raise ImageError(f"{where} is {value!r}, wanted an object with a mode", "correct the file")
    jsonfile.reject_unknown(where, value.keys(), ("mode", "uid", "gid", "type"))
    text = value.get("mode")
    if not isinstance(text, str) or not text or len(text) > 5 or any(digit not in "01234567" for digit in text):
        raise ImageError(f"{where} has the mode {text!r}", 'write it in octal, in quotes: "4755"')
    if int(text, 8) > 0o7777:
        raise ImageError(f"{where} has the mode {text!r}, above 7777", 'write it in octal, in quotes: "4755"')
    kind = value.get("type", "any")
    if kind not in {"any", "dir"}:
        raise ImageError(f"{where} has the type {kind!r}", 'only "dir" can be made; leave type out for what a tree has')
    return Mode(
        mode=int(text, 8),
        uid=jsonfile.whole(f"{where}: uid", value.get("uid", 0)),
        gid=jsonfile.whole(f"{where}: gid", value.get("gid", 0)),
        directory=kind == "dir",
    )
