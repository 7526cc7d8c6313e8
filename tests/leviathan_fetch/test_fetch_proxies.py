"""The HTTP client's proxies and redirects: which host gets what."""

import os
import socket
from pathlib import Path

import pytest
from http_site import Site, serving

from leviathan_fetch.clients import http as web
from leviathan_fetch.errors import FetchError


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_the_proxy_is_chosen_by_host(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site is its own proxy: it is asked for whole addresses then."""
    site.serve("http://index.example/f", b"through")
    address = site.serve("/f", b"direct")
    monkeypatch.setenv("HTTP_PROXY", site.url.replace("//", "//u:p%40ss@"))
    web.download("http://index.example/f", tmp_path / "a")
    web.download(address, tmp_path / "b")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"through", b"direct"]
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,index.example:8080")
    web.download("http://index.example/f", tmp_path / "c")
    assert [each[0] for each in site.requests] == ["http://index.example/f", "/f", "http://index.example/f"]


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "garbage:xx", "https://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(FetchError, match="HTTP_PROXY"):
        web.download("http://index.example/f", tmp_path / "a", sleep=lambda _: None)


def test_a_name_that_does_not_resolve_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(FetchError, match="does not resolve"):
        web.download("http://index.example/f", tmp_path / "a", sleep=lambda _: pytest.fail("it waits"))


def test_a_login_goes_to_its_host_only(site: Site, tmp_path: Path) -> None:
    with serving() as other:
        there = other.serve("/g", b"body")
        request = web.request(site.url.replace("//", "//u:p@") + "/f", {})
        handler = web._Redirects()
        headers = {"location": there}
        new = handler.redirect_request(request, None, 302, "Found", headers, there)  # type: ignore[arg-type]
        assert new is not None
        assert not new.has_header("Authorization")
        same = handler.redirect_request(request, None, 302, "Found", headers, site.url + "/h")  # type: ignore[arg-type]
        assert same is not None
        assert same.has_header("Authorization")


def test_an_endless_page_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAGE", 1 << 20)
    with pytest.raises(FetchError, match="larger than 1 MiB"):
        web.read(site.serve("/p", b" " * (3 << 20)), "text/html")
