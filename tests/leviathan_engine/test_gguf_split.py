"""Split models: parts are found and joined in order, and what is missing, truncated or foreign is named."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import model_files, read_model

MakeGguf = Callable[..., Path]
Parts = list[Path]


@pytest.fixture
def parts(make_gguf: MakeGguf) -> Parts:
    """Three parts as gguf-split writes them: the model's metadata in the first alone."""
    out = []
    for no in range(3):
        keys: dict[str, object] = {"split.no": no, "split.count": 3, "split.tensors.count": 6}
        if no == 0:
            keys["deepseek2.block_count"] = 2
        tensors = {f"blk.{no}.{x}.weight": np.full((4, 8), no, np.float32) for x in "ab"}
        out.append(make_gguf(f"models/sub/M-{no + 1:05d}-of-00003.gguf", tensors, keys))
    return out


def test_parts_are_joined_from_folder_file_or_any_part(parts: Parts) -> None:
    for path in (parts[0].parent.parent, parts[0].parent, parts[0], parts[2]):
        model = read_model(path)
        assert [p.path for p in model.parts] == parts
        assert model.metadata["deepseek2.block_count"] == 2
        assert {t.name: t.part for t in model.tensors.values()} == {
            f"blk.{n}.{x}.weight": n for n in range(3) for x in "ab"
        }
        assert model.file_bytes == sum(p.stat().st_size for p in parts)
        assert model.tensor_bytes == 6 * 4 * 8 * 4


def test_a_part_leads_to_its_own_model_alone(parts: Parts) -> None:
    """Next to it are a download's notes and other models; as a folder these are two models, and still an error."""
    strangers = ("M-00002-of-00009.gguf.aria2", "M-notes.txt", "M-00001-of-00003.gguf.part")
    for name in strangers:
        (parts[0].parent / name).write_bytes(b"x")
    assert model_files(parts[0].parent) == parts
    for part in parts:
        assert model_files(part) == parts
    for name in ("M-other.gguf", "M-large-00001-of-00002.gguf", "M-00001-of-00004.gguf"):
        shutil.copy(parts[0], parts[0].parent / name)
        assert model_files(parts[1]) == parts
        with pytest.raises(GgufError, match="expected one model, got "):
            model_files(parts[0].parent)


def test_one_file_needs_no_split_keys(make_gguf: MakeGguf) -> None:
    path = make_gguf("one/model.gguf")
    assert model_files(path) == model_files(path.parent) == [path]
    assert len(read_model(path.parent).tensors) == 3


def _drop_second(parts: Parts) -> None:
    parts[1].unlink()


def _cut_second(parts: Parts) -> None:
    os.truncate(parts[1], parts[1].stat().st_size - 64)


def _second_is_third(parts: Parts) -> None:
    shutil.copy(parts[2], parts[1])


def _two_of_two(parts: Parts) -> None:
    parts[2].unlink()
    for n in (0, 1):
        parts[n].rename(parts[n].with_name(f"M-{n + 1:05d}-of-00002.gguf"))


def _other_model(parts: Parts) -> None:
    shutil.copy(parts[0], parts[0].with_name("Other.gguf"))


def _part_nine(parts: Parts) -> None:
    shutil.copy(parts[0], parts[0].with_name("M-00009-of-00003.gguf"))


def _empty(parts: Parts) -> None:
    for path in parts:
        path.rename(path.with_name(path.name + ".part"))


HARM: list[tuple[Callable[[Parts], None], str]] = [
    (_drop_second, r"1 of 3 parts are missing: M-00002-of-00003\.gguf; download"),
    (_cut_second, r"M-00002-of-00003\.gguf: truncated"),
    (
        _second_is_third,
        r"M-00002-of-00003\.gguf: its header says that it is part 2 \(counted from 0\), its name says 1",
    ),
    (_two_of_two, r"M-00001-of-00002\.gguf: its header says that the model has 3 parts, but 2 are in the folder"),
    (_other_model, r"expected one model, got 2 \(M-00001-of-00003\.gguf, Other\.gguf\)"),
    (_part_nine, r"M-00009-of-00003\.gguf: expected a part number from 1 to 3, got 9"),
    (_empty, r"no \.gguf file in this folder"),
]


@pytest.mark.parametrize(("harm", "text"), HARM)
def test_a_bad_part_is_named(parts: Parts, harm: Callable[[Parts], None], text: str) -> None:
    read_model(parts[0].parent)
    harm(parts)
    with pytest.raises(GgufError, match=text):
        read_model(parts[0].parent)


def test_unfinished_downloads_are_mentioned(tmp_path: Path) -> None:
    (tmp_path / "M-00001-of-00002.gguf.incomplete").write_bytes(b"GG")
    with pytest.raises(GgufError, match=r"no \.gguf file in this folder, only 1 unfinished downloads"):
        read_model(tmp_path)


def test_parts_of_two_versions(make_gguf: MakeGguf) -> None:
    for no, name in ((0, "a"), (1, "a")):
        keys = {"split.no": no, "split.count": 2, "split.tensors.count": 2}
        path = make_gguf(f"v/M-{no + 1:05d}-of-00002.gguf", {name: np.zeros(8, np.float32)}, keys)
    with pytest.raises(GgufError, match=r"'a' is also in M-00001-of-00002\.gguf"):
        read_model(path)
    make_gguf("v/M-00002-of-00002.gguf", {"b": np.zeros(8, np.float32), "c": np.zeros(8, np.float32)}, keys)
    with pytest.raises(GgufError, match="expected 2 tensors in all parts together, got 3"):
        read_model(path)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="no such file or folder"):
        read_model(tmp_path / "models")


@pytest.mark.parametrize(
    "name",
    ["m.gguf.part1of2", "m.gguf-split-a", "m.gguf.part-00001", "m.gguf.part_aa", "m.gguf.aa", "m.Q4.gguf.001"],
)
def test_pieces_that_must_be_joined_are_told_from_parts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"GGUF" + bytes(100))
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(GgufError, match="of a file that was split for the download") as caught:
            model_files(path)
        assert "cat " in caught.value.remedy


@pytest.mark.parametrize("control", ["m.gguf.aria2", "m.gguf.st"])
def test_a_download_that_goes_on_next_to_a_file_of_full_size(make_gguf: MakeGguf, tmp_path: Path, control: str) -> None:
    make_gguf("m.gguf")
    (tmp_path / control).write_bytes(b"")
    with pytest.raises(GgufError, match="the download is unfinished"):
        model_files(tmp_path)


@pytest.mark.parametrize(
    ("start", "says", "remedy"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer", "git lfs pull"),
        (bytes(4096), "starts with zeros", "wait"),
        (b"<!DOCTYPE html><title>Log in</title> and more of it", "a web page", "log in"),
        (b"PK\x03\x04" + bytes(100), "got b'PK", "again"),
    ],
)
def test_what_a_download_leaves_is_named(tmp_path: Path, start: bytes, says: str, remedy: str) -> None:
    (tmp_path / "m.gguf").write_bytes(start)
    with pytest.raises(GgufError, match=says) as caught:
        read_model(tmp_path)
    assert remedy in caught.value.remedy
