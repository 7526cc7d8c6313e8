"""A GGUF model of the same build as DeepSeek-V3, but small, for tests that need files."""

from pathlib import Path

from leviathan_engine.gguf import ValueType
from leviathan_engine.gguf.write import Typed, write_gguf
from leviathan_engine.model.reference import TINY, metadata, q4_k_m


def write_tiny(folder: Path) -> Path:
    """Write `tiny.gguf`, whose weights are zeros, into the new folder `folder`, and return that."""
    model = q4_k_m(TINY)
    kinds: dict[type, ValueType] = {str: ValueType.STRING, bool: ValueType.BOOL, int: ValueType.UINT32}
    keys: dict[str, Typed] = {
        key: (kinds.get(type(value), ValueType.FLOAT32), value) for key, value in metadata(TINY).items()
    }
    rows = [(each.name, each.shape, each.type) for each in model.tensors.values()]
    folder.mkdir()
    write_gguf(folder / "tiny.gguf", keys, rows, (bytes(each.nbytes) for each in model.tensors.values()))
    return folder
