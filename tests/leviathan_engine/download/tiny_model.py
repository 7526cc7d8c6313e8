"""The bytes of a GGUF model that is small and whole."""

from pathlib import Path

from leviathan_engine.gguf import ValueType
from leviathan_engine.gguf.write import Typed, write_gguf
from leviathan_engine.model.reference import TINY, metadata, q4_k_m


def tiny_bytes(folder: Path) -> bytes:
    """A model of DeepSeek-V3's build whose weights are zeros; `folder` is made for it."""
    model = q4_k_m(TINY)
    kinds: dict[type, ValueType] = {str: ValueType.STRING, bool: ValueType.BOOL, int: ValueType.UINT32}
    keys: dict[str, Typed] = {
        key: (kinds.get(type(value), ValueType.FLOAT32), value) for key, value in metadata(TINY).items()
    }
    rows = [(each.name, each.shape, each.type) for each in model.tensors.values()]
    folder.mkdir()
    path = folder / "tiny.gguf"
    write_gguf(path, keys, rows, (bytes(each.nbytes) for each in model.tensors.values()))
    return path.read_bytes()
