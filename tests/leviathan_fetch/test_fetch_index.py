"""A package index read without pip."""

import hashlib
import json

import pytest
from http_site import Site

from leviathan_fetch.clients import package_index as index
from leviathan_fetch.errors import FetchError

WHEEL = "some_pack-1.0-py3-none-any.whl"
HASH = hashlib.sha256(b"wheel").hexdigest()
JSON = "application/vnd.pypi.simple.v1+json"


def page(**hashes: str) -> bytes:
    return json.dumps({"files": [{"filename": WHEEL, "url": f"../../files/{WHEEL}", "hashes": hashes}]}).encode()


def test_json_with_a_relative_address(site: Site) -> None:
    site.serve("/simple/some-pack/", page(sha256=HASH), kind=JSON)
    assert index.find(site.url + "/simple", "Some_Pack", WHEEL, HASH) == f"{site.url}/files/{WHEEL}"


def test_html_with_a_hash_in_the_fragment(site: Site) -> None:
    body = f'<a href="/files/other.whl">o</a><a href="/files/{WHEEL}#sha256={HASH}">w</a>'.encode()
    site.serve("/some-pack/", body, kind="text/html; charset=utf-8")
    assert index.find(site.url + "/", "some.pack", WHEEL, HASH) == f"{site.url}/files/{WHEEL}"


def test_html_names_are_unquoted() -> None:
    files = index.parse_html('<a href="a/x-1%2Bcu128.whl">x</a><a name="no link">', "http://h/p/")
    assert files == [index.File("x-1+cu128.whl", "http://h/p/a/x-1%2Bcu128.whl", "")]


def test_an_index_without_hashes_is_believed_until_the_file_is_hashed(site: Site) -> None:
    site.serve("/some-pack/", page(), kind=JSON)
    assert index.find(site.url, "some-pack", WHEEL, HASH).endswith(WHEEL)


def test_another_hash_is_an_error_before_the_download(site: Site) -> None:
    site.serve("/some-pack/", page(sha256="0" * 64), kind=JSON)
    with pytest.raises(FetchError, match=f"expected the hash {HASH} from the lock, the index has {'0' * 64}") as got:
        index.find(site.url, "some-pack", WHEEL, HASH)
    assert got.value.kind == "hash"


def test_a_file_that_is_not_listed_is_gone(site: Site) -> None:
    site.serve("/some-pack/", page(sha256=HASH), kind=JSON)
    with pytest.raises(FetchError, match="does not list some_pack-2") as got:
        index.find(site.url, "some-pack", "some_pack-2.0-py3-none-any.whl", HASH)
    assert (got.value.kind, got.value.remedy) == ("gone", "make lock")


def test_a_project_that_is_not_there_is_gone(site: Site) -> None:
    with pytest.raises(FetchError, match="HTTP 404") as got:
        index.find(site.url, "some-pack", WHEEL, HASH)
    assert got.value.kind == "gone"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"files": {}}',
        b'{"files": [{"url": "x"}]}',
        b'{"files": [{"filename": "x", "url": "x", "hashes": null}]}',
        b"\xff",
    ],
)
def test_what_is_no_index_page(site: Site, body: bytes) -> None:
    site.serve("/some-pack/", body, kind=JSON)
    with pytest.raises(FetchError, match="is not a page of a package index") as got:
        index.find(site.url, "some-pack", WHEEL, HASH)
    assert got.value.remedy == "correct --index-url"
