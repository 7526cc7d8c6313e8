"""The modes table: what it takes, and what it refuses by name."""

import json
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.modes import Mode, read_modes


def _write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "modes.json"
    path.write_text(json.dumps(document))
    return path


def test_no_file_is_an_empty_table() -> None:
    assert read_modes(None) == {}


def test_reads_modes_owners_and_folders(tmp_path: Path) -> None:
    document = {
        "/usr/bin/su": {"mode": "4755"},
        "etc/shadow": {"mode": "0640", "uid": 0, "gid": 42},
        "tmp/": {"mode": "1777", "type": "dir"},
    }
    assert read_modes(_write(tmp_path, document)) == {
        "usr/bin/su": Mode(0o4755),
        "etc/shadow": Mode(0o640, 0, 42),
        "tmp": Mode(0o1777, directory=True),
    }


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"a": {"mode": 4755}}, "4755"),
        ({"a": {"mode": "0888"}}, "0888"),
        ({"a": {"mode": "17777"}}, "above 7777"),
        ({"a": {}}, "None"),
        ({"a": {"mode": "755", "owner": 0}}, "unknown key owner"),
        ({"a": {"mode": "755", "uid": -1}}, "uid is -1"),
        ({"a": {"mode": "755", "gid": True}}, "gid is True"),
        ({"a": {"mode": "755", "type": "file"}}, "type 'file'"),
        ({"a/../b": {"mode": "755"}}, "a/../b"),
        ({"/": {"mode": "755"}}, "'/'"),
        ({"a": "755"}, "wanted an object"),
        (["a"], "JSON list"),
    ],
)
def test_refuses_what_it_does_not_know(tmp_path: Path, document: object, named: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_modes(_write(tmp_path, document))
    assert named in caught.value.line()
    assert "modes.json" in caught.value.line()


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"absent\.json: No such file"):
        read_modes(tmp_path / "absent.json")
    path = tmp_path / "modes.json"
    path.write_text("{")
    with pytest.raises(ImageError, match=r"modes\.json is not JSON"):
        read_modes(path)
