"""Adapts commands on a node to its system: remedies are written for Talos, and shown for Debian, k3s, kubeadm."""

import json
import re
from collections.abc import Mapping
from typing import Any

#: What follows `talosctl -n ADDRESS` → the same on a node with a shell.
SHELL = {
    r"read (?P<file>\S+)": r"cat \g<file>",
    r"dmesg": "sudo dmesg",
    r"usage /var --depth 2": "sudo du -xh -d 2 /var",
    r"get extensions": "nvidia-smi",
    r"get resolvers": "cat /etc/resolv.conf",
    r"get discoveredvolumes": "lsblk -f",
    r"logs cri": "sudo journalctl -u {runtime}",
    r"netstat -l": "sudo ss -ltnp",
    r"services? kubelet": "systemctl status {kubelet}",
}
WORDS = {
    "install Talos' NVIDIA container toolkit extension": "install the NVIDIA container toolkit",
    "the driver extension and the toolkit extension must have the same version": "the driver and its libraries must "
    "have the same version",
    "on Talos, check the NVIDIA extensions and kernel modules": "on the node, check the driver",
    "; on Talos: ": "; ",
}
REGISTRY = re.compile(
    r"talosctl -n (?P<node>\S+) patch machineconfig -p '\{\"machine\":\{\"registries\":(?P<what>.*)\}\}'"
)
MIRROR = re.compile(r'"mirrors":\{"(?P<host>[^"]+)":\{"endpoints":\["(?P<url>[^"]+)"\]')


def for_system(text: str, node: Mapping[str, Any] | None) -> str:
    """`text` with the commands of the system that the Node object tells of; unchanged for Talos, and without a node."""
    info = (node or {}).get("status", {}).get("nodeInfo") or {}
    system = str(info.get("osImage", ""))
    if not system or system.startswith("Talos"):
        return text
    k3s = "+k3s" in str(info.get("kubeletVersion", ""))
    units = {"runtime": "k3s" if k3s else "containerd", "kubelet": "k3s" if k3s else "kubelet"}
    text = REGISTRY.sub(lambda found: _registry(found["node"], found["what"], k3s=k3s), text)
    for pattern, command in SHELL.items():
        text = re.sub(rf"talosctl -n (\S+) {pattern}", rf"ssh \1 {command.format(**units)}", text)
    for before, after in WORDS.items():
        text = text.replace(before, after)
    return text


def _registry(node: str, what: str, *, k3s: bool) -> str:
    """How a node learns of a registry's scheme, credentials or authority. Sources: k3s, "Private Registry
    Configuration"; containerd, docs/hosts.md."""
    restart = f"ssh {node} sudo systemctl restart {'k3s' if k3s else 'containerd'}"
    mirror = MIRROR.search(what)
    if mirror is None and '"auth"' in what:
        return "leviathan apply --set image.pull_secret=registry-login --set image.make_pull_secret=true"
    if mirror is None:
        return f"copy it to {node}:/usr/local/share/ca-certificates/, ssh {node} sudo update-ca-certificates, {restart}"
    host, url = mirror["host"], mirror["url"]
    folder, file, content = f"/etc/containerd/certs.d/{host}", "hosts.toml", f'server = "{url}"'
    if k3s:
        folder, file = "/etc/rancher/k3s", "registries.yaml"
        content = json.dumps({"mirrors": {host: {"endpoint": [url]}}})
    return f"echo '{content}' | ssh {node} 'sudo mkdir -p {folder}; sudo tee {folder}/{file}'; {restart}"
