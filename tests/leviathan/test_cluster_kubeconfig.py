"""The kubeconfig's fields, token files and plugins, as kubectl honours them, over real HTTP."""

import os
import ssl
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import ReplayApi, replay
from hypothesis import given
from hypothesis import strategies as st
from kubeconfig_support import VERSION, kubeconfig, opened

from leviathan.cluster import kubeconfig_fields as fields
from leviathan.cluster.client import ClusterError, connect
from leviathan.cluster.kubeconfig import open_client
from leviathan.site.schema import Site


@pytest.fixture
def secure(server_tls: ssl.SSLContext) -> Iterator[ReplayApi]:
    """An API server with TLS that answers /version."""
    with replay(tls=server_tls) as server:
        server.add("GET", "/version", VERSION)
        yield server


# Who we are


def test_a_user_to_act_as_is_sent_with_every_request(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path
) -> None:
    user = {"token": "t", "as": "jané", "as-uid": "7", "as-groups": ["ops"], "as-user-extra": {"a/b": ["c d"]}}
    cluster = opened(site, kubeconfig(tmp_path, secure, user, ca_file=ca_file))
    cluster.version()
    cluster.get("/version")
    for asked in secure.asked:
        assert asked.headers["authorization"] == "Bearer t"
        assert asked.headers["impersonate-user"].encode("latin-1").decode() == "jané"
        assert asked.headers["impersonate-uid"] == "7"
        assert asked.headers["impersonate-group"] == "ops"
        assert asked.headers["impersonate-extra-a%2fb"] == "c d"


def test_each_group_is_a_header_of_its_own(site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path) -> None:
    user = {"token": "t", "as": "jane", "as-groups": ["ops", "devs"]}
    client = open_client("", kubeconfig(tmp_path, secure, user, ca_file=ca_file)).api
    sent: list[Any] = []
    original = client.rest_client.pool_manager.urlopen

    def urlopen(*args: Any, **options: Any) -> Any:
        sent.append(options["headers"])
        return original(*args, **options)

    client.rest_client.pool_manager.urlopen = urlopen
    client.call_api("/version", "GET", auth_settings=["BearerToken"], _preload_content=False)
    assert sent[0].getlist("impersonate-group") == ["ops", "devs"]


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"token": "t", "as-groups": ["ops"]}, "has no `as`"),
        ({"token": "t", "as": "a\nb"}, r"expected a string without line breaks, got 'a\nb'"),
        ({"token": "t", "as": 7}, "expected a string without line breaks, got 7"),
        ({"token": "t", "as": "a", "as-user-extra": {"x": [None]}}, "Impersonate-Extra-x"),
        ({"token": "t", "as-usr": "a"}, "the kubeconfig's user has the field as-usr, which leviathan does not support"),
        ({"token": "a b"}, "the kubeconfig's token cannot be sent"),
        ({"token": "sécret"}, "the kubeconfig's token cannot be sent"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path, user: dict[str, Any], says: str
) -> None:
    with pytest.raises(ClusterError) as caught:
        connect(site, kubeconfig(tmp_path, secure, user, ca_file=ca_file))
    assert says in caught.value.line()
    assert caught.value.reason == "BadKubeconfig"
    assert str(user["token"]) == "t" or str(user["token"]) not in caught.value.line()


def test_a_cluster_field_that_nobody_knows_is_refused(site: Site, tmp_path: Path, secure: ReplayApi) -> None:
    with pytest.raises(ClusterError, match="cluster has the field proxy-ulr") as caught:
        connect(site, kubeconfig(tmp_path, secure, {"token": "t"}, proxy_ulr="http://p:1"))
    assert "proxy-url" in caught.value.why


@given(st.text(max_size=20))
def test_any_name_of_extra_is_a_headers_name(name: str) -> None:
    key = fields._key(name)
    assert key.isascii()
    assert not set(key) & set(' \t\r\n:"(),/;<=>?@[\\]{}')
    assert len(key) >= len(name)


@pytest.mark.parametrize("around", ["tok1\n", "tok1\r\n", "  tok1 \n\n", "tok1"])
def test_a_token_file_is_trimmed(site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path, around: str) -> None:
    (tmp_path / "token").write_text(around)
    opened(site, kubeconfig(tmp_path, secure, {"tokenFile": "token"}, ca_file=ca_file)).version()
    assert secure.asked[0].headers["authorization"] == "Bearer tok1"


def plugin(folder: Path, text: str) -> dict[str, Any]:
    """A user with an executable credential plugin that is this Python text."""
    path = folder / "plugin"
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": str(path), "args": ["get-token"], "interactiveMode": "Never"}}


GIVES = "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', 'status': %s}))"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sys.exit('the login has expired')", "the login has expired"),
        ("print('no json')", "failed to decode"),
        (GIVES % "{}", "missing token or clientCertificateData"),
    ],
)
def test_a_plugin_that_fails_is_the_reason_and_nothing_is_sent(
    site: Site,
    tmp_path: Path,
    secure: ReplayApi,
    ca_file: Path,
    capfd: pytest.CaptureFixture[str],
    text: str,
    says: str,
) -> None:
    with pytest.raises(ClusterError, match="credential plugin returned no credentials") as caught:
        connect(site, kubeconfig(tmp_path, secure, plugin(tmp_path, text), ca_file=ca_file))
    assert says in caught.value.why
    assert caught.value.where == f"exec: {tmp_path}/plugin get-token"
    assert capfd.readouterr().err == ""  # the library's own log does not reach the terminal
    assert secure.asked == []


@pytest.mark.parametrize("value", [None, []])
def test_a_plugin_whose_args_and_env_are_null_is_asked(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path, value: object
) -> None:
    """As some cloud tools write them; and its command may be relative to the kubeconfig."""
    user = plugin(tmp_path, GIVES % "{'token': 'one'}")
    user["exec"] |= {"args": value, "env": value, "command": "./plugin"}
    opened(site, kubeconfig(tmp_path, secure, user, ca_file=ca_file)).version()
    assert secure.asked[0].headers["authorization"] == "Bearer one"


def test_the_servers_name_may_be_another_than_its_address(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path
) -> None:
    """tls-server-name: the certificate is for 127.0.0.1; 127.1 is the same address, and needs no resolver."""
    address = secure.address.replace("127.0.0.1", "127.1")
    for named, reason in (({}, "TLS"), ({"tls_server_name": "127.0.0.1"}, "")):
        environ = kubeconfig(tmp_path, secure, {"token": "t"}, ca_file=ca_file, server=address, **named)
        if reason:
            with pytest.raises(ClusterError) as caught:
                opened(site, environ).version()
            assert caught.value.reason == reason
        else:
            opened(site, environ).version()
    assert len(secure.asked) == 1


def test_a_plugin_that_is_not_installed_gives_its_hint(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path
) -> None:
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": "no-such-plugin", "installHint": "apt-get install it"}}
    with pytest.raises(ClusterError, match="No such file") as caught:
        connect(site, kubeconfig(tmp_path, secure, user, ca_file=ca_file))
    assert caught.value.remedy == "apt-get install it"


def test_a_plugin_that_fails_later_is_the_reason_then(
    site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path
) -> None:
    status = "{'token': 'one', 'expirationTimestamp': '2020-01-01T00:00:00Z'}"
    cluster = opened(site, kubeconfig(tmp_path, secure, plugin(tmp_path, GIVES % status), ca_file=ca_file))
    cluster.version()
    assert secure.asked[0].headers["authorization"] == "Bearer one"
    plugin(tmp_path, "sys.exit('the session is over')")
    with pytest.raises(ClusterError, match="the session is over"):
        cluster.version()
    assert len(secure.asked) == 1


# Files, TLS


def test_an_empty_file_among_several_is_skipped(site: Site, tmp_path: Path, secure: ReplayApi, ca_file: Path) -> None:
    (tmp_path / "empty").write_text("# nothing yet\n")
    good = kubeconfig(tmp_path, secure, {"token": "t"}, ca_file=ca_file)["KUBECONFIG"]
    for order in ([str(tmp_path / "empty"), good], [good, str(tmp_path / "empty")]):
        opened(site, {"KUBECONFIG": os.pathsep.join(order)}).version()
    with pytest.raises(ClusterError, match="the kubeconfig is invalid"):
        connect(site, {"KUBECONFIG": f"{tmp_path}/empty"})


def test_unverified_tls_is_said_once_and_not_for_each_request(
    site: Site, tmp_path: Path, secure: ReplayApi, capfd: pytest.CaptureFixture[str]
) -> None:
    environ = kubeconfig(tmp_path, secure, {"token": "t"}, insecure_skip_tls_verify=True)
    for _ in range(2):
        opened(site, environ).version()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: the kubeconfig sets insecure-skip-tls-verify")
    assert secure.address in line
