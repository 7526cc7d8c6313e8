"""A front that serves, and GGUF files, written by llama.cpp's own `gguf` package and not by the code under test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from front_process import FrontProcess, serving

from leviathan_engine.gguf import ValueType
from leviathan_engine.gguf.write import Typed, write_gguf
from leviathan_engine.model.reference import TINY, q4_k_m

MakeGguf = Callable[..., Path]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """A front with its engine, as it is without settings; one for the tests of a file."""
    yield from serving(tmp_path_factory.mktemp("front"))


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> Path:
    """A file with all that the launcher reads before it looks for a tokenizer; its weights are zeros."""
    model = q4_k_m(TINY)
    kinds = {str: ValueType.STRING, bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32}
    keys: dict[str, Typed] = {key: (kinds[type(value)], value) for key, value in model.metadata.items()}
    path = tmp_path / "tiny.gguf"
    tensors = model.tensors.values()
    write_gguf(path, keys, [(t.name, t.shape, t.type) for t in tensors], (bytes(t.nbytes) for t in tensors))
    return path


@pytest.fixture
def make_gguf(tmp_path: Path) -> MakeGguf:
    """Writes a small deepseek2 file: `make_gguf(name, tensors={name: array}, keys={key: value})`."""

    def make(
        name: str = "model.gguf", tensors: dict[str, Any] | None = None, keys: dict[str, Any] | None = None
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(str(path), "deepseek2")
        for key, value in (keys or {}).items():
            if isinstance(value, bool):
                writer.add_bool(key, value)
            elif isinstance(value, int):
                writer.add_uint32(key, value)
            elif isinstance(value, float):
                writer.add_float32(key, value)
            elif isinstance(value, str):
                writer.add_string(key, value)
            else:
                writer.add_array(key, value)
        if tensors is None:
            rng = np.random.default_rng(0)
            tensors = {
                "token_embd.weight": rng.standard_normal((16, 32)).astype(np.float32),
                "output_norm.weight": np.ones(32, np.float32),
                "blk.0.attn_q_a.weight": rng.standard_normal((8, 64)).astype(np.float16),
            }
        for tensor_name, array in tensors.items():
            writer.add_tensor(tensor_name, array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make
