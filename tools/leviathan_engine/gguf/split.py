"""Finds a model's files below a folder and joins the headers of its parts.

llama.cpp's `gguf-split` names parts `NAME-00001-of-00009.gguf` and writes `split.no` (from 0), `split.count` and
`split.tensors.count` into every part; only the first part has the model's metadata.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from leviathan_engine.errors import GgufError

from .model import Header, Model, Tensor
from .reader import read_header

PART_NAME = re.compile(r"^(?P<stem>.+)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf$")
#: `x.gguf.part1of3`, `x.gguf-split-a`, `x.gguf.part-00001`, `x.gguf.aa`: files made by `split`, to be joined by `cat`.
PIECE = re.compile(r"\.gguf[.-](?:(?:part|split)[-._]?(?:[a-z]{1,2}|\d+(?:of\d+)?)|a[a-z]|\d{3})$", re.IGNORECASE)
#: Files that aria2 and axel keep next to an unfinished file, which already has its full size.
CONTROL = (".gguf.aria2", ".gguf.st")
LEFT = "wait for the download; if it has ended, remove that file"
ONE_MODEL = "keep one model in the folder, or give the path of the one to load"


def read_model(path: Path) -> Model:
    """Returns the model at `path`: a folder, one file, or any part of a split model.

    Searches a folder recursively, as KTransformers does. Errors: GgufError that names the part that is missing,
    truncated or from another model.
    """
    files = model_files(path)
    with ThreadPoolExecutor(max_workers=min(8, len(files))) as pool:
        headers = list(pool.map(read_header, files, range(len(files))))
    return join(headers)


def model_files(path: Path) -> list[Path]:
    """Returns the files of the model at `path`, in order. Errors: GgufError, also for more than one model."""
    if path.is_dir():
        return _of_folder(path)
    if PIECE.search(path.name):
        raise _unjoined(path, 1)
    if not path.exists():
        raise GgufError(f"no such file or folder: {path}", "check the path, and that the disk is mounted")
    match = PART_NAME.match(path.name)
    if match is None:
        return [path]
    stem, count = match["stem"], match["count"]
    found = [
        p for p in path.parent.iterdir() if (m := PART_NAME.match(p.name)) and (m["stem"], m["count"]) == (stem, count)
    ]
    return _one_group(path.parent, found)


def join(headers: Sequence[Header]) -> Model:
    """Joins the headers of a model's parts, in order. Errors: GgufError for parts that do not belong together."""
    first = headers[0]
    tensors: dict[str, Tensor] = {}
    for index, header in enumerate(headers):
        _check_split_keys(header, index, len(headers))
        for tensor in header.tensors:
            if tensor.name in tensors:
                other = headers[tensors[tensor.name].part].part.path
                raise GgufError(
                    f"{header.part.path}: the tensor {tensor.name!r} is also in {other.name}",
                    "remove the file that is not part of the model",
                )
            tensors[tensor.name] = tensor
    wanted = first.metadata.get("split.tensors.count", len(tensors))
    if wanted != len(tensors):
        raise GgufError(
            f"{first.part.path}: expected {wanted} tensors in all parts together, got {len(tensors)}: the parts are of"
            " different versions",
            "download all parts again",
        )
    return Model(tuple(h.part for h in headers), dict(first.metadata), tensors)


def _check_split_keys(header: Header, index: int, count: int) -> None:
    path = header.part.path
    if header.metadata.get("split.count", count) != count:
        said = header.metadata["split.count"]
        raise GgufError(
            f"{path}: its header says that the model has {said} parts, but {count} are in the folder",
            "download the missing parts",
        )
    if header.metadata.get("split.no", index) != index:
        said = header.metadata["split.no"]
        raise GgufError(
            f"{path}: its header says that it is part {said} (counted from 0), its name says {index}",
            "give the parts their original names",
        )


def _of_folder(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, _dirs, names in os.walk(folder):
        found += [Path(root) / name for name in names if name.endswith(".gguf")]
    others = sorted(Path(root) / name for root, _dirs, names in os.walk(folder) for name in names)
    pieces = [path for path in others if PIECE.search(path.name)]
    if pieces:
        raise _unjoined(pieces[0], len(pieces))
    if not found:
        partial = sum(1 for path in others if ".gguf." in path.name)
        why = f", only {partial} unfinished downloads" if partial else ""
        raise GgufError(
            f"{folder}: no .gguf file in this folder{why}",
            "wait for the download, or give the path of another folder",
        )
    for path in others:
        if path.name.endswith(CONTROL) and path.with_suffix("") in found:
            raise GgufError(
                f"{path.with_suffix('')}: the download is unfinished, because {path.name} is next to it", LEFT
            )
    return _one_group(folder, found)


def _unjoined(piece: Path, count: int) -> GgufError:
    """Returns the error for a file that was split to fit its host's size limit: its pieces are not GGUF files."""
    whole = PIECE.sub(".gguf", piece.name)
    named = f"one of {count} pieces" if count > 1 else "a piece"
    return GgufError(
        f"{piece}: {named} of a file that was split for the download, which cannot be loaded in pieces",
        f"join the pieces when all are there: cat {piece.parent / whole}* > OTHER_FOLDER/{whole}",
    )


def _one_group(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Returns the parts in order, after checking that they belong to one model and that none is missing."""
    groups: dict[tuple[Path, str, int], dict[int, Path]] = {}
    for path in sorted(files):
        match = PART_NAME.match(path.name)
        key, no = ((path.parent, match["stem"], int(match["count"])), int(match["no"])) if match else ((path, "", 1), 1)
        groups.setdefault(key, {})[no] = path
    if len(groups) > 1:
        names = ", ".join(sorted(min(parts.values()).name for parts in groups.values())[:4])
        raise GgufError(f"{folder}: expected one model, got {len(groups)} ({names})", ONE_MODEL)
    ((where, stem, count), parts), *_ = groups.items()
    missing = [n for n in range(1, count + 1) if n not in parts]
    if missing:
        names = ", ".join(f"{stem}-{n:05d}-of-{count:05d}.gguf" for n in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise GgufError(
            f"{where}: {len(missing)} of {count} parts are missing: {names}{more}", "download the missing parts"
        )
    if extra := [n for n in parts if n > count or n < 1]:
        raise GgufError(
            f"{parts[extra[0]]}: expected a part number from 1 to {count}, got {extra[0]}", "remove or rename the file"
        )
    return [parts[n] for n in range(1, count + 1)]
