"""Proxies between the tool and the API server, as kubectl chooses them, over real HTTP."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.replay_api import ReplayApi, replay
from fakes.seeing_proxy import seeing_proxy
from kubeconfig_support import VERSION, kubeconfig, opened

from leviathan.cluster.client import ClusterError, connect
from leviathan.cluster.kubeconfig import open_client
from leviathan.site.schema import Site


@pytest.fixture
def secure(server_tls: ssl.SSLContext) -> Iterator[ReplayApi]:
    """An API server with TLS that answers /version."""
    with replay(tls=server_tls) as server:
        server.add("GET", "/version", VERSION)
        yield server


# Proxies


def test_no_proxy_and_the_scheme_count_as_for_kubectl(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path
) -> None:
    token = {"token": "t"}
    with seeing_proxy() as proxy:
        environ = {"HTTPS_PROXY": proxy.address, "HTTP_PROXY": proxy.address}
        direct = kubeconfig(tmp_path, secure, token, ca_file=ca_file)  # loopback
        opened(site, direct | environ).version()
        named = kubeconfig(tmp_path, secure, token, ca_file=ca_file, server="https://api.example:6443")
        for more, through in (
            (environ, True),
            (environ | {"NO_PROXY": "10.0.0.0/8,.other"}, True),
            ({"HTTP_PROXY": proxy.address}, False),
            (environ | {"NO_PROXY": "example"}, False),
            (environ | {"NO_PROXY": "api.example:6443"}, False),
        ):
            assert (open_client("", named | more).proxy is not None) == through
        assert proxy.seen == []
        with pytest.raises(ClusterError) as caught:
            opened(site, named | environ).version()
        assert set(proxy.seen) == {("CONNECT", "api.example:6443")}
        assert f"through the proxy {proxy.address} of HTTPS_PROXY" in caught.value.where


def test_variables_set_for_the_process_do_not_bend_the_client(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official client reads the proxy variables too, and ignores NO_PROXY."""
    with seeing_proxy() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.address)
        monkeypatch.setenv("NO_PROXY", "other.example")
        opened(site, kubeconfig(tmp_path, secure, {"token": "t"}, ca_file=ca_file) | dict(os.environ)).version()
        assert proxy.seen == []


def test_proxy_url_is_used_with_its_login_whatever_no_proxy_says(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path
) -> None:
    with seeing_proxy(secure.address.removeprefix("https://")) as proxy:
        url = proxy.address.replace("http://", "http://u:p%40ss@")
        environ = kubeconfig(tmp_path, secure, {"token": "t"}, ca_file=ca_file, proxy_url=url)
        opened(site, environ | {"NO_PROXY": "*"}).version()
        assert proxy.seen == [("CONNECT", secure.address.removeprefix("https://"))]
        assert proxy.logins == ["Basic dTpwQHNz"]


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1080", "garbage:xx"])
def test_a_proxy_that_cannot_be_used_is_refused_by_name(
    site: Site, tmp_path: Path, secure: ReplayApi, url: str
) -> None:
    with pytest.raises(ClusterError, match="proxy-url") as caught:
        connect(site, kubeconfig(tmp_path, secure, {"token": "t"}, proxy_url=url))
    assert caught.value.reason == "BadProxy"
    named = kubeconfig(tmp_path, secure, {"token": "t"}, server="https://api.example")
    with pytest.raises(ClusterError, match="ALL_PROXY"):
        connect(site, named | {"ALL_PROXY": url})
    assert open_client("", named | {"ALL_PROXY": url, "NO_PROXY": "api.example"}).proxy is None
