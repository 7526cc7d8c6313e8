"""The configuration files of containerd, the CNI plugins, the kubelet and kube-proxy, as pure functions."""

from pathlib import Path

from e2e.control_plane import objects
from e2e.control_plane.api import Json
from e2e.control_plane.argv import Times
from e2e.control_plane.certificates import Pair

from . import needs, network

SOCKET = Path("/run/containerd/containerd.sock")
CLUSTER = "10.244.0.0/16"
RUNTIMES = ("runc", "nvidia")  # the second is what the runtime class names; here it is the first
UNUSED = ("btrfs", "zfs", "devmapper", "aufs")


def containerd(folder: Path, pause: str) -> str:
    """containerd's config.toml; `folder` holds its data, `pause` is the image that holds a pod's namespaces.

    Format: containerd 1.6, docs/cri/config.md. `restrict_oom_score_adj`: root without CAP_SYS_RESOURCE cannot lower
    the score, and runc ends with "can't get final child's PID from pipe" where it is to.
    """
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    runtimes = "".join(
        f'[{cri}.containerd.runtimes.{name}]\nruntime_type = "io.containerd.runc.v2"\n' for name in RUNTIMES
    )
    unused = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in UNUSED)
    return f"""\
version = 2
root = "{folder}/root"
state = "{SOCKET.parent}"
disabled_plugins = [{unused}]
[grpc]
address = "{SOCKET}"
[{cri}]
sandbox_image = "{pause}"
disable_apparmor = true
restrict_oom_score_adj = true
[{cri}.cni]
bin_dir = "{needs.PLUGINS}"
conf_dir = "{folder}/cni"
[{cri}.registry]
config_path = "{folder}/certs"
[{cri}.containerd]
default_runtime_name = "{RUNTIMES[0]}"
{runtimes}[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
"""


def hosts(registry: str) -> str:
    """containerd's hosts.toml for a registry that speaks plain HTTP. Format: containerd, docs/hosts.md."""
    address = f"http://{registry}"
    return f'server = "{address}"\n[host."{address}"]\ncapabilities = ["pull", "resolve"]\n'


def cni(folder: Path) -> Json:
    """The pods' network: a bridge, with addresses of `network.PODS` that are noted in `folder` (CNI 1.0.0)."""
    addresses = {
        "type": "host-local",
        "dataDir": str(folder / "addresses"),
        "ranges": [[{"subnet": network.PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "e2e", "plugins": [bridge | {"ipam": addresses}, ports]}


def kubelet(folder: Path, group: str, pair: Pair, authority: Path) -> Json:
    """KubeletConfiguration (kubelet.config.k8s.io/v1beta1): as a cluster's, but for where it writes and its root group.

    Arguments: `folder` for what it writes outside its root folder; `group`, its control group's name; `pair`, its
    serving certificate; `authority`, whose clients it believes.
    """
    (folder / "resolv.conf").write_text(f"nameserver {network.GATEWAY}\n", encoding="ascii")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.ADDRESS,
        "authentication": {
            "x509": {"clientCAFile": str(authority)},
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "evictionHard": dict.fromkeys(("nodefs.available", "imagefs.available", "nodefs.inodesFree"), "1%")
        | {"memory.available": "100Mi"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeLeaseDurationSeconds": Times().node_grace,  # a quarter of it is how often the kubelet renews it
        "nodeStatusReportFrequency": "10s",
        "nodeStatusUpdateFrequency": "4s",
        "protectKernelDefaults": True,  # it is to change nothing in /proc/sys
        "resolvConf": str(folder / "resolv.conf"),
        "tlsCertFile": str(pair.certificate),
        "tlsPrivateKeyFile": str(pair.key),
        "volumePluginDir": str(folder / "volume-plugins"),
    }


def proxy(kubeconfig: Path) -> Json:
    """KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1): iptables, NodePorts on loopback, no limits changed."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": CLUSTER,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": objects.NODE,
        "iptables": {"localhostNodePorts": True, "syncPeriod": "5s"},
    }
