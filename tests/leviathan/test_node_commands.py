"""Remedies name commands of the node's own system: none of Talos's on a Debian with k3s or kubeadm."""

from typing import Any

import pytest
from rollout_support import scene
from test_rollout_words import TABLES

from leviathan.cluster.node_commands import for_system
from leviathan.rollout.diagnose.cases import names
from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands
from leviathan.rollout.stage import Stage
from leviathan.site.load import load

COMMANDS = Commands(load(settings=["cluster.node=gpu-1"]).site)
TALOS = "talosctl -n 192.168.3.10 "


def node(system: str, kubelet: str = "v1.34.1") -> dict[str, Any]:
    return {"status": {"nodeInfo": {"osImage": system, "kubeletVersion": kubelet}}}


K3S = node("Debian GNU/Linux 12 (bookworm)", "v1.34.1+k3s1")
KUBEADM = node("Ubuntu 24.04.2 LTS")


class Anything(dict[str, str]):
    """The groups of a case's pattern, whatever they are."""

    def __missing__(self, key: str) -> str:
        return "10.0.0.1:5000" if "host" in key else "x"


def remedies() -> list[str]:
    known = Anything(names(COMMANDS))
    return [each.format_map(known) for each in (*(case.remedy for case in TABLES), *(stage.hint for stage in Stage))]


def test_there_are_remedies_to_translate() -> None:
    assert sum("talosctl -n" in each for each in remedies()) >= 12


@pytest.mark.parametrize("system", [K3S, KUBEADM])
def test_no_command_of_talos_is_left(system: dict[str, Any]) -> None:
    left = [said for each in remedies() if "talos" in (said := for_system(each, system)).lower()]
    assert left == []


@pytest.mark.parametrize("system", [node("Talos (v1.11.0)"), node(""), None, {}])
def test_on_talos_and_where_it_is_not_known_nothing_changes(system: dict[str, Any] | None) -> None:
    assert [for_system(each, system) for each in remedies()] == remedies()


@pytest.mark.parametrize(
    ("text", "system", "said"),
    [
        ("read /proc/cpuinfo | grep flags", K3S, "ssh 192.168.3.10 cat /proc/cpuinfo | grep flags"),
        ("logs cri", K3S, "ssh 192.168.3.10 sudo journalctl -u k3s"),
        ("logs cri", KUBEADM, "ssh 192.168.3.10 sudo journalctl -u containerd"),
        ("services kubelet", KUBEADM, "ssh 192.168.3.10 systemctl status kubelet"),
        ("get discoveredvolumes", KUBEADM, "ssh 192.168.3.10 lsblk -f"),
    ],
)
def test_commands(text: str, system: dict[str, Any], said: str) -> None:
    assert for_system(TALOS + text, system) == said


@pytest.mark.parametrize(
    ("code", "system", "words"),
    [
        ("image-http-registry", K3S, '{"mirrors": {"10.0.0.1:5000": {"endpoint": ["http://10.0.0.1:5000"]}}}'),
        ("image-http-registry", K3S, "sudo tee /etc/rancher/k3s/registries.yaml'; ssh"),
        ("image-http-registry", KUBEADM, "sudo tee /etc/containerd/certs.d/10.0.0.1:5000/hosts.toml'"),
        ("image-https-registry", KUBEADM, """echo 'server = "https://10.0.0.1:5000"' |"""),
        ("image-certificate", KUBEADM, "sudo update-ca-certificates"),
        ("image-unauthorized", K3S, "--set image.make_pull_secret=true"),
    ],
)
def test_registries(code: str, system: dict[str, Any], words: str) -> None:
    case = next(each for each in TABLES if each.code == code)
    assert words in for_system(case.remedy.format_map(Anything(names(COMMANDS))), system)


def test_a_diagnosis_has_the_nodes_commands() -> None:
    recorded = scene("image-http-registry")
    for each in recorded.found["nodes"]:
        each["status"]["nodeInfo"] |= {"osImage": "Debian GNU/Linux 12", "kubeletVersion": "v1.34.1+k3s1"}
    found = diagnose(recorded.snapshot(), Commands(recorded.site))
    assert ["registries.yaml" in each.remedy for each in found if each.code == "image-http-registry"] == [True]
