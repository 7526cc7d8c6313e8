"""Artifact records: each key is checked, and each error names it."""

import json

import pytest

from leviathan_fetch.errors import FetchError
from leviathan_fetch.records import parse

DEB = {
    "kind": "deb",
    "name": "bash_5_amd64.deb",
    "sha256": "a" * 64,
    "store": "/nix/store/xyz-bash_5_amd64.deb",
    "package": "bash",
    "version": "5",
    "filename": "pool/main/b/bash/bash_5_amd64.deb",
    "size": 10,
    "suite": "bookworm",
    "architecture": "amd64",
}
WHEEL = {key: DEB[key] for key in ("sha256", "package", "version")} | {
    "kind": "pypi",
    "name": "a-1-py3-none-any.whl",
    "store": "/nix/store/xyz-a-1-py3-none-any.whl",
    "filename": "a-1-py3-none-any.whl",
    "size": None,
}
SEED = DEB | {"kind": "seed", "name": "seed", "store": "/nix/store/x-seed", "member": "bin/x", "narHash": "sha256-A="}


def test_each_kind() -> None:
    deb, wheel, seed = parse(json.dumps([DEB, WHEEL, SEED]), "stdin")
    assert (deb.suite, deb.size, deb.member) == ("bookworm", 10, "")
    assert (wheel.suite, wheel.size) == ("", None)
    assert seed.member == "bin/x"


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (DEB | {"sha265": "x"}, "bash_5_amd64.deb: unknown key sha265"),
        (DEB | {"kind": "rpm"}, "kind: expected one of deb, pypi, seed, got 'rpm'"),
        ({key: DEB[key] for key in DEB if key != "suite"}, "suite is missing"),
        ({key: WHEEL[key] for key in WHEEL if key != "version"}, "version is missing"),
        (SEED | {"narHash": ""}, "narHash is missing"),
        (DEB | {"sha256": "A" * 64}, "expected 64 lower-case hex digits"),
        (DEB | {"sha256": "a" * 63}, "expected 64 lower-case hex digits"),
        (DEB | {"store": "/nix/store/xyz-other"}, "expected a store path that ends in -bash_5_amd64.deb"),
        (DEB | {"name": "../x", "store": "/nix/store/a-../x"}, "expected a store path"),
        (DEB | {"size": -1}, "size: expected a number of bytes, got -1"),
        (DEB | {"size": "10"}, "size: expected a number of bytes, got '10'"),
        ("text", "expected an object, got a str"),
    ],
)
def test_a_bad_record_is_named_with_its_key(item: object, why: str) -> None:
    with pytest.raises(FetchError) as got:
        parse(json.dumps([WHEEL, item]), "stdin")
    assert got.value.message.startswith("stdin: artifact 1: ")
    assert why in got.value.message


def test_a_list_that_is_none() -> None:
    with pytest.raises(FetchError, match="stdin: expected a list of artifacts, got a dict"):
        parse("{}", "stdin")
    with pytest.raises(FetchError, match="stdin:2:1 is not JSON"):
        parse("[\n", "stdin")
