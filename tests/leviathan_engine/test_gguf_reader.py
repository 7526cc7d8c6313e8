"""Headers of good files agree with llama.cpp's own reader; every damaged one ends in one line that names the file."""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import GgmlType, ValueType, read_header
from leviathan_engine.gguf.types import BLOCKS
from leviathan_engine.gguf.write import Typed, write_gguf

MakeGguf = Callable[..., Path]
KEYS: dict[str, object] = {
    "deepseek2.block_count": 61,
    "deepseek2.rope.freq_base": 10000.0,
    "deepseek2.expert_weights_norm": True,
    "general.name": "Tiny — 小さい",
    "tokenizer.ggml.tokens": ["a", "Ġb", "<\uff5cUser\uff5c>", ""],
    "tokenizer.ggml.token_type": [1, 1, 3, 5],
}


def test_block_sizes_are_ggmls() -> None:
    for theirs, (block, size) in gguf.GGML_QUANT_SIZES.items():
        assert BLOCKS[GgmlType[theirs.name]] == (block, size), theirs.name
        assert GgmlType[theirs.name] == theirs.value
    assert set(BLOCKS) == set(GgmlType)


def test_header_agrees_with_llama_cpps_reader(make_gguf: MakeGguf) -> None:
    path = make_gguf(keys=KEYS)
    header = read_header(path)
    reader = gguf.GGUFReader(path)
    assert header.metadata.items() >= KEYS.items()
    assert header.metadata["general.architecture"] == "deepseek2"
    ours = [(t.name, t.shape, t.type.name, t.offset, t.nbytes) for t in header.tensors]
    theirs = [
        (t.name, tuple(int(n) for n in t.shape), t.tensor_type.name, int(t.data_offset), int(t.n_bytes))
        for t in reader.tensors
    ]
    assert ours == theirs
    assert header.part.data_offset == reader.data_offset
    assert (header.part.version, header.part.alignment, header.part.file_size) == (3, 32, path.stat().st_size)


def test_version_2_has_the_same_layout(make_gguf: MakeGguf) -> None:
    path = make_gguf(keys=KEYS)
    raw = bytearray(path.read_bytes())
    raw[4:8] = struct.pack("<I", 2)
    path.write_bytes(raw)
    assert read_header(path).part.version == 2


def test_a_quantised_tensor_counts_whole_blocks(tmp_path: Path) -> None:
    path = tmp_path / "q.gguf"
    write_gguf(path, {}, [("w", (512, 3), GgmlType.Q4_K)], [bytes(2 * 3 * 144)])
    (tensor,) = read_header(path).tensors
    assert (tensor.nbytes, tensor.elements) == (864, 1536)
    assert gguf.GGUFReader(path).tensors[0].n_bytes == 864


def test_own_writer_is_read_by_llama_cpps_reader(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    meta: dict[str, Typed] = {
        "general.architecture": (ValueType.STRING, "deepseek2"),
        "n": (ValueType.UINT32, 7),
        "list": (ValueType.ARRAY, ValueType.STRING, ["x", "yé"]),
        "floats": (ValueType.ARRAY, ValueType.FLOAT32, [0.5, 1.5]),
    }
    data = np.arange(12, dtype=np.float32)
    write_gguf(path, meta, [("t", (4, 3), GgmlType.F32), ("u", (1,), GgmlType.F32)], [data.tobytes(), b"\0\0\x80?"])
    theirs = gguf.GGUFReader(path)
    assert np.array_equal(theirs.tensors[0].data, data.reshape(3, 4))
    assert float(theirs.tensors[1].data[0]) == 1.0
    header = read_header(path)
    assert header.metadata == {"general.architecture": "deepseek2", "n": 7, "list": ["x", "yé"], "floats": [0.5, 1.5]}
    with pytest.raises(ValueError, match="expected 8 bytes, got 4"):
        write_gguf(path, {}, [("t", (2,), GgmlType.F32)], [b"\0\0\0\0"])


def _raw(keys: bytes = b"", n_keys: int = 0, rows: bytes = b"", n_rows: int = 0, tail: int = 4096) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, n_rows, n_keys) + keys + rows + bytes(tail)


def _key(name: bytes, kind: int, body: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + body


def _row(name: bytes, dims: tuple[int, ...], kind: int, offset: int = 0) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


BIG = 1 << 60
DAMAGE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a GGUF file: it has only 0 bytes"),
    "other file": (b"PK\x03\x04" + bytes(100), "expected a GGUF file, which starts with GGUF, got b'PK"),
    "version 1": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "expected GGUF version 2 or 3, got 1"),
    "version 4": (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "expected GGUF version 2 or 3, got 4"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "got a big-endian one"),
    "absurd keys": (_raw(n_keys=BIG), "metadata keys do not fit in a file"),
    "absurd tensors": (_raw(n_rows=BIG), "tensors do not fit in a file"),
    "absurd key": (_raw(struct.pack("<Q", BIG) + b"k", 1), "a key has 1152921504606846976 bytes"),
    "absurd text": (_raw(_key(b"k", 8, struct.pack("<Q", BIG)), 1), "the value of 'k' has"),
    "absurd array": (_raw(_key(b"k", 9, struct.pack("<IQ", 4, BIG)), 1), "'k' has 1152921504606846976 items"),
    "array past the end": (_raw(_key(b"k", 9, struct.pack("<IQ", 4, 5000)), 1), "'k' has 5000 items"),
    "array in arrays": (_raw(_key(b"k", 9, struct.pack("<IQ", 9, 1) * 4), 1), "nested deeper"),
    "value type": (_raw(_key(b"k", 99, b""), 1), "value type 99"),
    "boolean": (_raw(_key(b"k", 7, b"\2"), 1), "neither 0 nor 1"),
    "key twice": (_raw(_key(b"k", 0, b"\1") * 2, 2), "the key 'k' occurs twice"),
    "alignment": (
        _raw(_key(b"general.alignment", 4, struct.pack("<I", 24)), 1),
        "a power of two up to 1048576, got 24",
    ),
    "alignment 0": (
        _raw(_key(b"general.alignment", 4, struct.pack("<I", 0)), 1),
        "a power of two up to 1048576, got 0",
    ),
    "alignment text": (
        _raw(_key(b"general.alignment", 8, struct.pack("<Q", 1) + b"x"), 1),
        "a power of two up to 1048576, got 'x'",
    ),
    "tensor name": (_raw(rows=struct.pack("<Q", 300) + bytes(400), n_rows=1), "a tensor's name has 300 bytes"),
    "dimensions": (_raw(rows=_row(b"t", (1,) * 5, 0), n_rows=1), "5 dimensions"),
    "zero": (_raw(rows=_row(b"t", (4, 0), 0), n_rows=1), "shape (4, 0)"),
    "overflow": (_raw(rows=_row(b"t", (BIG, 16), 0), n_rows=1), "the header is damaged"),
    "tensor type": (_raw(rows=_row(b"t", (4,), 77), n_rows=1), "type 77, which ggml does not define"),
    "removed type": (_raw(rows=_row(b"t", (4,), 31), n_rows=1), "type Q4_0_4_4, which ggml no longer has"),
    "part of a block": (_raw(rows=_row(b"t", (255,), 12), n_rows=1), "a multiple of 256 elements for Q4_K"),
    "one of a block": (_raw(rows=_row(b"t", (1,), 12), n_rows=1), "a multiple of 256 elements for Q4_K"),
    "misaligned": (_raw(rows=_row(b"t", (4,), 0, 8), n_rows=1), "an offset that is a multiple of 32, got 8"),
    "past the end": (
        _raw(rows=_row(b"t", (4096,), 0), n_rows=1),
        "truncated: expected at least 16448 bytes, got 4153, so 12295 are missing",
    ),
    "offset past the end": (_raw(rows=_row(b"t", (4,), 0, 1 << 50), n_rows=1), "truncated"),
    "overlap": (_raw(rows=_row(b"t", (64,), 0) + _row(b"u", (8,), 0, 32), n_rows=2), "'t' and 'u' overlap"),
    "tensor twice": (_raw(rows=_row(b"t", (8,), 0) + _row(b"t", (8,), 0, 64), n_rows=2), "'t' occurs twice"),
    "header cut": (_raw(_key(b"k", 8, struct.pack("<Q", 100)), 1, tail=10), "truncated: the header needs 100 more"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_line_that_names_the_file(tmp_path: Path, case: str) -> None:
    raw, text = DAMAGE[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(raw)
    with pytest.raises(GgufError) as caught:
        read_header(path)
    line = caught.value.line()
    assert text in line
    assert str(path) in line
    assert "\n" not in line
    assert caught.value.remedy


def test_the_hand_made_bytes_are_good_without_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    path.write_bytes(_raw(_key(b"k", 0, b"\1"), 1, _row(b"t", (8,), 0) + _row(b"u", (8,), 0, 32), 2))
    assert [t.name for t in read_header(path).tensors] == ["t", "u"]


def test_truncated_by_one_byte_of_data(make_gguf: MakeGguf) -> None:
    path = make_gguf()
    last = max(read_header(path).tensors, key=lambda t: t.offset)
    os.truncate(path, last.offset + last.nbytes)
    read_header(path)
    os.truncate(path, last.offset + last.nbytes - 1)
    with pytest.raises(GgufError, match=r"1 are missing \(the last tensor is 'blk\.0\.attn_q_a\.weight'\)"):
        read_header(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    for path, text in ((pipe, "not a regular file"), (tmp_path, "not a regular"), (tmp_path / "no", "No such file")):
        with pytest.raises(GgufError, match=text):
            read_header(path)


def _array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


@pytest.mark.parametrize(
    ("part", "key"),
    [
        (0, _array(9, 1 << 17, _array(4, 0) * (1 << 17))),  # arrays in an array, all empty
        (0, _array(0, (1 << 23) + 1, bytes((1 << 23) + 1))),
        (1, _array(0, (1 << 16) + 1, bytes((1 << 16) + 1))),  # a later part has only the keys of the split
    ],
    ids=["nested", "flat", "part"],
)
def test_items_are_bounded_over_the_whole_header(tmp_path: Path, part: int, key: bytes) -> None:
    path = tmp_path / "many.gguf"
    path.write_bytes(_raw(struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9) + key, 1))
    began = time.monotonic()
    with pytest.raises(GgufError, match=r"with 'k' it has \d+ list items, too many"):
        read_header(path, part)
    assert time.monotonic() - began < 10
