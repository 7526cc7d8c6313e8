"""The command line of every part, as pure functions."""

from dataclasses import dataclass
from pathlib import Path

from .certificates import Pair
from .settings import LOOPBACK, Ports, Programs

SERVICES = "10.96.0.0/16"
CIPHER = "VersionTLS12"


@dataclass(frozen=True)
class Files:
    """What the parts read: certificates, kubeconfigs and the folder of the data."""

    data: Path
    authority: Path
    server: Pair
    kubelet_client: Pair
    accounts: Path
    accounts_public: Path
    admission: Path
    controllers: Path
    scheduler: Path


@dataclass(frozen=True)
class Times:
    """How long controllers wait, in seconds. A test has less patience than a cluster.

    `node_grace`: until a silent node is Unknown (Kubernetes' default: 40); `node_poll`: between looks at the nodes (5);
    `claims`: between looks at claims that could not be bound at once (15). A claim often needs one or two of these
    looks, since the controller changes the volume and the claim, and each change can come too early for the other.
    """

    node_grace: int = 16
    node_poll: int = 2
    claims: int = 1


def etcd(programs: Programs, ports: Ports, files: Files) -> list[str]:
    """etcd with one member. Its heart beats slowly, since a busy test machine starves it at times.

    It does not wait for the disk: while gigabytes were pushed, the API server did not answer for 20 seconds, and the
    node became NotReady. A test kills processes only, and the kernel keeps what they wrote.
    """
    client = f"http://{LOOPBACK}:{ports.etcd}"
    peer = f"http://{LOOPBACK}:{ports.etcd_peer}"
    return [
        str(programs.etcd),
        "--name=e2e",
        f"--data-dir={files.data / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=e2e={peer}",
        "--heartbeat-interval=500",
        "--election-timeout=5000",
        "--unsafe-no-fsync",
        "--logger=zap",
        "--log-outputs=stderr",
    ]


def api_server(programs: Programs, ports: Ports, files: Files) -> list[str]:
    """kube-apiserver with RBAC, Pod Security (its defaults are Talos's) and the certificates of a private authority."""
    return [
        str(programs.part("kube-apiserver")),
        f"--etcd-servers=http://{LOOPBACK}:{ports.etcd}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={ports.api}",
        f"--tls-cert-file={files.server.certificate}",
        f"--tls-private-key-file={files.server.key}",
        f"--tls-min-version={CIPHER}",
        f"--client-ca-file={files.authority}",
        "--anonymous-auth=true",  # /readyz and /version, as every cluster has them
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--admission-control-config-file={files.admission}",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={files.accounts_public}",
        f"--service-account-signing-key-file={files.accounts}",
        f"--service-cluster-ip-range={SERVICES}",
        "--endpoint-reconciler-type=none",  # a loopback address may not stand in an Endpoints object
        f"--kubelet-client-certificate={files.kubelet_client.certificate}",
        f"--kubelet-client-key={files.kubelet_client.key}",
        f"--kubelet-certificate-authority={files.authority}",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
    ]


def controller_manager(programs: Programs, ports: Ports, files: Files, times: Times) -> list[str]:
    """kube-controller-manager: all controllers, each with a service account of its own."""
    return [
        str(programs.part("kube-controller-manager")),
        f"--kubeconfig={files.controllers}",
        f"--authentication-kubeconfig={files.controllers}",
        f"--authorization-kubeconfig={files.controllers}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={ports.controllers}",
        f"--tls-cert-file={files.server.certificate}",
        f"--tls-private-key-file={files.server.key}",
        f"--root-ca-file={files.authority}",
        f"--service-account-private-key-file={files.accounts}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--node-monitor-grace-period={times.node_grace}s",
        f"--node-monitor-period={times.node_poll}s",
        f"--pvclaimbinder-sync-period={times.claims}s",
        "--profiling=false",
    ]


def scheduler(programs: Programs, ports: Ports, files: Files) -> list[str]:
    """kube-scheduler with its default profile."""
    return [
        str(programs.part("kube-scheduler")),
        f"--kubeconfig={files.scheduler}",
        f"--authentication-kubeconfig={files.scheduler}",
        f"--authorization-kubeconfig={files.scheduler}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={ports.scheduler}",
        f"--tls-cert-file={files.server.certificate}",
        f"--tls-private-key-file={files.server.key}",
        "--leader-elect=false",
        "--profiling=false",
    ]
