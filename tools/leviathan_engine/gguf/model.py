"""The contents of a GGUF header as frozen data: metadata, tensor table, files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .types import GgmlType

Value = bool | int | float | str | list["Value"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table.

    `shape` is in ggml's order (the row length first); `offset` is the absolute offset in the file in bytes; `part` is
    the index of the file, from 0.
    """

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int
    part: int = 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.type.nbytes(self.elements)


@dataclass(frozen=True, slots=True)
class Part:
    """One file: sizes and offsets in bytes. `data_offset` is the first possible offset of a tensor."""

    path: Path
    file_size: int
    version: int
    alignment: int
    data_offset: int


@dataclass(frozen=True)
class Header:
    """One file's header."""

    part: Part
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True)
class Model:
    """A whole model: the files in order, the first file's metadata, all tensors by name."""

    parts: tuple[Part, ...]
    metadata: Mapping[str, Value]
    tensors: Mapping[str, Tensor]

    @property
    def file_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(part.file_size for part in self.parts)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(tensor.nbytes for tensor in self.tensors.values())
