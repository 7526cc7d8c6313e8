"""`leviathan.cluster.client` over real HTTP: reaching the server, and the kubeconfig."""

import os
import ssl
from dataclasses import replace as changed
from pathlib import Path

import pytest
from cluster_support import QUICK
from fakes.replay_api import Answer, ReplayApi, replay

from leviathan.cluster.client import ClusterError, connect
from leviathan.site.schema import Site

# Reaching the server


def test_nobody_there(site: Site, tmp_path: Path) -> None:
    with replay() as server:
        kubeconfig = server.kubeconfig(tmp_path)
    cluster = connect(site, {"KUBECONFIG": str(kubeconfig)})
    cluster.transport.patience = QUICK
    with pytest.raises(ClusterError, match="Connection refused") as caught:
        cluster.version()
    assert (caught.value.status, caught.value.reason) == (0, "Unreachable")
    assert "object at 0x" not in str(caught.value)


def test_tls(site: Site, tmp_path: Path, ca_file: Path, server_tls: ssl.SSLContext) -> None:
    with replay(tls=server_tls) as server:
        server.add("GET", "/version", Answer(body={"gitVersion": "v1.34.1"}))
        good = connect(site, {"KUBECONFIG": str(server.kubeconfig(tmp_path, ca_file=ca_file))})
        assert good.version()["gitVersion"] == "v1.34.1"
        bad = connect(site, {"KUBECONFIG": str(server.kubeconfig(tmp_path))})
        with pytest.raises(ClusterError, match="certificate verify failed") as caught:
            bad.version()
    assert caught.value.reason == "TLS"
    assert "talosctl kubeconfig" in caught.value.remedy


def test_plain_http_at_a_tls_address(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    path = api.kubeconfig(tmp_path)
    path.write_text(path.read_text().replace("http://", "https://"))
    with pytest.raises(ClusterError) as caught:
        connect(site, {"KUBECONFIG": str(path)}).version()
    assert caught.value.reason == "TLS"


# The kubeconfig


def in_context(site: Site, context: str) -> Site:
    """The site with another context."""
    return changed(site, cluster=changed(site.cluster, context=context))


def test_the_context_is_the_sites_else_the_current_one(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    environ = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
    assert connect(site, environ).context == "replay"
    assert connect(in_context(site, "other"), environ).context == "other"


def test_home_is_where_the_kubeconfig_is_without_the_variable(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    (tmp_path / ".kube").mkdir()
    api.kubeconfig(tmp_path).rename(tmp_path / ".kube" / "config")
    assert connect(site, {"HOME": str(tmp_path)}).server == api.address


def test_several_files_are_one_kubeconfig(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    second = tmp_path / "second"
    second.write_text(api.kubeconfig(tmp_path).read_text().replace("replay", "next"))
    environ = {"KUBECONFIG": os.pathsep.join([str(tmp_path / "absent"), str(tmp_path / "kubeconfig"), str(second)])}
    assert connect(site, environ).context == "replay"
    assert connect(in_context(site, "next"), environ).context == "next"


def test_an_unknown_context_names_the_known_ones(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    environ = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
    with pytest.raises(ClusterError, match=r"no context repaly .*it has: replay, other \(nearest: replay\)") as caught:
        connect(in_context(site, "repaly"), environ)
    assert caught.value.reason == "UnknownContext"


def test_no_kubeconfig_names_the_places(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no kubeconfig") as caught:
        connect(site, {"KUBECONFIG": str(tmp_path / "absent")})
    assert caught.value.reason == "NoKubeconfig"
    assert caught.value.where == str(tmp_path / "absent")


@pytest.mark.parametrize(
    "text",
    ["", "- a list", "a: [", "current-context: x\ncontexts: [{name: x, context: {cluster: gone, user: gone}}]\n"],
)
def test_a_broken_kubeconfig_is_one_line(site: Site, tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ClusterError, match="the kubeconfig is invalid") as caught:
        connect(site, {"KUBECONFIG": str(path)})
    assert caught.value.reason == "BadKubeconfig"
    assert "\n" not in caught.value.line()
