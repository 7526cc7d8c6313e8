"""The command lines for Nix, and the links that keep artifacts."""

from pathlib import Path

import pytest
from checkouts import Checkout

from leviathan_fetch import store
from leviathan_fetch.errors import FetchError
from leviathan_fetch.records import Record


def test_the_calls() -> None:
    assert store.invalid_argv(["/a", "/b"]) == ["nix-store", "--check-validity", "--print-invalid", "/a", "/b"]
    assert store.add_argv([Path("/d/x"), Path("/d/y")], False) == ["nix-store", "--add-fixed", "sha256", "/d/x", "/d/y"]
    assert store.add_argv([Path("/d/x")], True) == ["nix-store", "--add-fixed", "--recursive", "sha256", "/d/x"]
    assert store.root_argv(Path("/r/a"), ["/s"]) == ["nix-store", "--realise", "--add-root", "/r/a", "--indirect", "/s"]
    assert store.eval_argv("lib.artifacts") == [
        "nix", "--extra-experimental-features", "nix-command flakes", "eval", "--json", ".#lib.artifacts",
    ]  # fmt: skip


def test_nothing_to_do_calls_nothing(tmp_path: Path) -> None:
    assert store.add([], False, tmp_path / "none") == []
    store.keep([], tmp_path / "roots")
    assert list(tmp_path.iterdir()) == []


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert store.free_bytes(tmp_path / "a" / "b") == store.free_bytes(tmp_path) > 0


def test_a_keep_that_was_stopped_halfway_is_done_anew(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its links are gone, so the stamp that vouches for them must be, too."""
    for name in ("PATH", "FAKE_STORE"):
        monkeypatch.setenv(name, checkout.environment[name])
    checkout.artifacts([])
    a, b = (
        [Record("deb", name, "", f"/nix/store/x-{name}", name, "1", name, None, "all", "bookworm", "")]
        for name in ("a", "b")
    )
    roots = checkout.folder / "roots"
    store.keep(a, roots)
    assert store.kept(a, roots)
    with monkeypatch.context() as broken:
        broken.setenv("PATH", "/nonexistent")
        with pytest.raises(FetchError, match="nix-store is not on PATH"):
            store.keep(b, roots)
    assert not store.kept(a, roots)
    store.keep(a, roots)
    assert str((roots / "a").readlink()) == "/nix/store/x-a"
