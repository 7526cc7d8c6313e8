"""The files that the parts read, written into a control plane's folder before anything starts."""

import json
from dataclasses import asdict
from pathlib import Path

from . import kubeconfig, objects
from .argv import Files
from .certificates import Authority, run
from .settings import LOOPBACK, Ports, free_ports

SERVER_NAMES = ("IP:127.0.0.1", "IP:10.96.0.1", "DNS:localhost", "DNS:kubernetes.default.svc", "DNS:kubernetes")


def ports_of(folder: Path) -> Ports:
    """The ports of the control plane in `folder`: those it had before (kubeconfigs stay right), or new ones."""
    record = folder / "ports.json"
    if record.exists():
        return Ports(**json.loads(record.read_text(encoding="utf-8")))
    ports = free_ports()
    record.write_text(json.dumps(asdict(ports)) + "\n", encoding="utf-8")
    return ports


def account_keys(authority: Authority) -> tuple[Path, Path]:
    """The RSA key that signs service accounts' tokens, and its public half; PEM files."""
    private, public = authority.folder / "accounts.key", authority.folder / "accounts.pub"
    if not public.exists():
        openssl = str(authority.openssl)
        run([openssl, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(private)])
        run([openssl, "pkey", "-in", str(private), "-pubout", "-out", str(public)])
    return private, public


def prepare(folder: Path, ports: Ports, authority: Authority) -> Files:
    """Write certificates, kubeconfigs of the parts and the admission configuration; their paths.

    Errors: ControlPlaneError when openssl fails.
    """
    root = authority.pair.certificate
    server = f"https://{LOOPBACK}:{ports.api}"
    configs = {}
    for name in ("kube-controller-manager", "kube-scheduler"):
        pair = authority.issue(name, f"system:{name}")
        configs[name] = kubeconfig.write(folder / f"{name}.kubeconfig", server, root, pair)
    admission = folder / "admission.json"
    admission.write_text(json.dumps(objects.admission(), indent=1) + "\n", encoding="utf-8")
    private, public = account_keys(authority)
    return Files(
        data=folder,
        authority=root,
        server=authority.issue("server", "kube-apiserver", addresses=SERVER_NAMES),
        kubelet_client=authority.issue("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"]),
        accounts=private,
        accounts_public=public,
        admission=admission,
        controllers=configs["kube-controller-manager"],
        scheduler=configs["kube-scheduler"],
    )
