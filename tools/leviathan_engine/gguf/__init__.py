"""Reads the headers of GGUF model files, checks them, and dumps them as JSON. Does not read tensor data.

Use `read_model` for a folder or file, `dump.dump` and `dump.load` for a header without its files.
"""

from .model import Header, Model, Part, Tensor, Value
from .reader import read_header
from .split import model_files, read_model
from .types import GgmlType, ValueType

__all__ = [
    "GgmlType",
    "Header",
    "Model",
    "Part",
    "Tensor",
    "Value",
    "ValueType",
    "model_files",
    "read_header",
    "read_model",
]
