"""The `layer` step: folder trees in, one zstd-compressed tar layer with its description out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_image import jsonfile
from leviathan_image.errors import ImageError
from leviathan_image.modes import Mode
from leviathan_image.tarwriter import write_tar
from leviathan_image.tree import Entry, Kind, compose
from leviathan_image.zstdpipe import Compression, Compressor

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"

#: Files above this many bytes are listed in `layer.json` and must be accounted for in the budget.
BIG = 50_000_000


@dataclass(frozen=True, slots=True)
class Layer:
    """What `layer.json` says: `digest` and `size` (bytes) of the blob, `diff_id` and `uncompressed_size` (bytes) of
    the tar inside, the number of `files`, and `biggest`, the files over 50 MB as (path, bytes). `folder` holds it.
    """

    name: str
    digest: str
    size: int
    diff_id: str
    uncompressed_size: int
    files: int
    comment: str
    biggest: tuple[tuple[str, int], ...]
    folder: Path

    @property
    def blob(self) -> Path:
        """The compressed layer."""
        return self.folder / "blob"

    @property
    def contents(self) -> Path:
        """The sorted list of its paths, one a line: kind, mode, uid, gid, size, path, target, separated by tabs."""
        return self.folder / "contents.tsv"


#: The plain fields: key in `layer.json` → attribute of `Layer`.
_KEYS = {
    "name": "name",
    "digest": "digest",
    "size": "size",
    "diffId": "diff_id",
    "uncompressedSize": "uncompressed_size",
    "files": "files",
    "comment": "comment",
}


def make_layer(
    name: str, trees: Sequence[Path], out: Path, modes: Mapping[str, Mode], compression: Compression, comment: str = ""
) -> Layer:
    """Write the layer `name` of `trees` into the new folder `out`: `blob`, `layer.json`, `contents.tsv`.

    `comment` becomes the layer's history line in the image. Equal trees give equal bytes on every machine with the
    same zstd. Raises ImageError when trees overlap, `out` exists with content, or the disk is full; a failed run
    leaves no file behind.
    """
    entries = compose(trees, modes)
    _new_folder(out)
    partial = out / "blob.partial"
    try:
        with partial.open("wb") as file:
            compressor = Compressor(file, compression)
            try:
                write_tar(entries, compressor.write)
                compressor.finish()
            except BaseException:
                compressor.abort()
                raise
        layer = Layer(
            name=name,
            digest=f"sha256:{compressor.blob.hexdigest()}",
            size=compressor.blob_size,
            diff_id=f"sha256:{compressor.raw.hexdigest()}",
            uncompressed_size=compressor.raw_size,
            files=sum(entry.kind is not Kind.DIRECTORY for entry in entries),
            comment=comment,
            biggest=tuple((f"/{e.path}", e.size) for e in entries if e.size > BIG),
            folder=out,
        )
        layer.contents.write_text("".join(_line(entry) for entry in entries), encoding="utf-8")
        (out / "layer.json").write_text(json.dumps(_document(layer), indent=2) + "\n", encoding="utf-8")
        partial.rename(layer.blob)
    except OSError as error:
        raise ImageError(f"cannot write the layer {name} in {out}: {error.strerror}", "free space there") from error
    finally:
        partial.unlink(missing_ok=True)
    return layer


def read_layer(folder: Path) -> Layer:
    """The layer that `make_layer` wrote in `folder`. Raises ImageError where that is not one."""
    path = folder / "layer.json"
    document = jsonfile.read_object(path)
    jsonfile.reject_unknown(str(path), document.keys(), (*_KEYS, "mediaType", "biggest"))
    try:
        fields = {attribute: document[key] for key, attribute in _KEYS.items()}
        biggest = tuple((item["path"], item["size"]) for item in document["biggest"])
        known = document["mediaType"] == MEDIA_TYPE
    except (KeyError, TypeError) as error:
        raise ImageError(f"{path} lacks {error}", "make it with the layer command") from error
    if not known:
        raise ImageError(f"{path} has the media type {document['mediaType']!r}, wanted {MEDIA_TYPE}", "make it again")
    return Layer(**fields, biggest=biggest, folder=folder)


def _document(layer: Layer) -> dict[str, object]:
    fields = {key: getattr(layer, attribute) for key, attribute in _KEYS.items()}
    biggest = [{"path": path, "size": size} for path, size in layer.biggest]
    return {"mediaType": MEDIA_TYPE, **fields, "biggest": biggest}


def _line(entry: Entry) -> str:
    fields = (entry.kind.value, f"{entry.mode:04o}", entry.uid, entry.gid, entry.size, entry.path, entry.target)
    return "\t".join(str(field) for field in fields) + "\n"


def _new_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ImageError(f"the output folder {out} is not empty", "name a new folder")
    except OSError as error:
        raise ImageError(f"cannot make the output folder {out}: {error.strerror}", "name a new folder") from error
