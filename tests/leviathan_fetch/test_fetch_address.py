"""What is an address that can be asked, and what is none."""

import pytest

from leviathan_fetch.errors import FetchError
from leviathan_fetch.options import check_address

NONE = ("foo", "foo/bar", "host:80/x", "http:/x", "http://", "http://h:port/", "http://[::1/", "gopher://h/")


@pytest.mark.parametrize("url", [*NONE, "http://h/ x", "http://h/\u00e9"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(FetchError, match=r"--index-url: expected an address such as .*, got '.*'"):
        check_address("index-url", url)


@pytest.mark.parametrize("url", ["http://h", "https://u:p@h:8443/x/", "http://[::1]:80/x", "ftp://h/x", "file:///x"])
def test_what_is_an_address(url: str) -> None:
    check_address("index-url", url)


def test_a_broken_address_keeps_its_password_to_itself() -> None:
    with pytest.raises(FetchError) as got:
        check_address("index-url", "user:word@host/simple")
    assert "word" not in got.value.line()
    assert "'host/simple'" in got.value.line()
