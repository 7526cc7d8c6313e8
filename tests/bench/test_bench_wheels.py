"""What pip is asked for, when it is asked, and what is said when it cannot."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import kt_wheel
from bench.errors import Missing
from bench.wheels import Wheels, fetched
from leviathan_fetch.errors import FetchError

PLATFORMS = ("manylinux_2_35_x86_64", "manylinux2014_x86_64")


@pytest.fixture
def two(tmp_path: Path) -> Wheels:
    """Two small packages, a-b and c."""
    lines = [f"a-b==1 --hash=sha256:{hashlib.sha256(b'ab').hexdigest()}"]
    lines += [f"c==2 --hash=sha256:{hashlib.sha256(b'c').hexdigest()}"]
    (tmp_path / "two.txt").write_text("\n".join(lines) + "\n")
    return Wheels(tmp_path / "two.txt", PLATFORMS)


class Pip:
    """What pip does here: notes what it is asked, and leaves these files, or fails."""

    def __init__(self, files: dict[str, bytes], error: str = "") -> None:
        self.files, self.error = files, error
        self.asked: list[Sequence[str]] = []

    def __call__(self, words: Sequence[str]) -> None:
        self.asked.append(words)
        if self.error:
            raise FetchError(self.error)
        for name, data in self.files.items():
            (Path(words[-1]) / name).write_bytes(data)


def test_the_whole_command(two: Wheels, tmp_path: Path) -> None:
    pip = Pip({"a_b-1-py3-none-any.whl": b"ab", "c-2-py3-none-any.whl": b"c"})
    found = fetched(two, tmp_path / "cache", pip)
    assert [path.name for path in found] == list(pip.files)
    assert pip.asked == [
        [
            *("download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11"),
            *("--platform", "manylinux_2_35_x86_64", "--platform", "manylinux2014_x86_64"),
            *("--require-hashes", "-r", str(tmp_path / "two.txt"), "-d", str(tmp_path / "cache")),
        ]
    ]


def test_what_is_there_is_not_asked_for_again(two: Wheels, tmp_path: Path) -> None:
    pip = Pip({"a_b-1.whl": b"ab", "c-2.whl": b"c"})
    assert fetched(two, tmp_path, pip) == fetched(two, tmp_path, pip)
    assert len(pip.asked) == 1
    (tmp_path / "c-2.whl").write_bytes(b"cut")
    fetched(two, tmp_path, pip)
    assert len(pip.asked) == 2


def test_pips_reason_and_the_command_are_told(two: Wheels, tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"no a-b==1 c==2: pip ended with 1: No route; by hand: python3 -m pip download"):
        fetched(two, tmp_path, Pip({}, "pip ended with 1: No route"))


def test_a_wheel_with_another_hash_is_none(two: Wheels, tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"no wheel of c==2 with the pinned sha256"):
        fetched(two, tmp_path, Pip({"a_b-1.whl": b"ab", "c-2.whl": b"other"}))


def test_without_a_pip_that_is_the_reason(two: Wheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leviathan_fetch.clients.pip_client.find_python", lambda: None)
    with pytest.raises(Missing, match=r"this host has no pip"):
        fetched(two, tmp_path)


def test_a_failing_pips_last_line_is_told(two: Wheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in pip's place: it gets the words after `-m pip`, and no PYTHONPATH of the bench's."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "words: $1 $2 $3 path:$PYTHONPATH" >&2\necho "ERROR: no such thing" >&2\nexit 3\n'
    )
    python.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", "tests")
    monkeypatch.setattr("leviathan_fetch.clients.pip_client.find_python", lambda: str(python))
    with pytest.raises(Missing, match=r"pip ended with 3: ERROR: no such thing; by hand"):
        fetched(two, tmp_path)


@pytest.mark.parametrize(("pinned", "names"), [(kt_wheel.WHEELS, ["kt-kernel==0.7.2"])])
def test_what_is_compared_with_is_pinned_by_version_and_hash(pinned: Wheels, names: list[str]) -> None:
    assert [str(pin) for pin in pinned.pins()] == names
    assert {len(pin.sha256) for pin in pinned.pins()} == {64}
    assert "-r tests/bench/" in pinned.command()
    assert pinned.command().endswith("-d .leviathan/bench")
