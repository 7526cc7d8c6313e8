"""Where a control plane's programs lie, where it keeps its data, and which ports on loopback it has."""

import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import ControlPlaneError

LOOPBACK = "127.0.0.1"
PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PROGRAMS = "LEVIATHAN_KUBERNETES"
ETCD = "LEVIATHAN_ETCD"


@dataclass(frozen=True)
class Programs:
    """The programs by path: `folder` holds Kubernetes's by their own names, `etcd` and `openssl` are files."""

    folder: Path
    etcd: Path
    openssl: Path

    def part(self, name: str) -> Path:
        """The path of one of `PARTS`."""
        return self.folder / name


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    etcd: int
    etcd_peer: int
    api: int
    controllers: int
    scheduler: int


def find_programs(environ: Mapping[str, str]) -> Programs:
    """The programs: LEVIATHAN_KUBERNETES in `environ` names a folder, LEVIATHAN_ETCD a file (default: etcd on PATH).

    Errors: ControlPlaneError that names what is missing.
    """
    given = environ.get(PROGRAMS, "")
    if not given:
        raise ControlPlaneError(f"{PROGRAMS} is not set: no folder with {', '.join(PARTS)}", "run scripts/kubernetes")
    folder = Path(given).resolve()
    for name in PARTS:
        if not os.access(folder / name, os.X_OK):
            raise ControlPlaneError(f"{PROGRAMS}={folder} has no program {name}", "run scripts/kubernetes")
    path = environ.get("PATH", os.defpath)
    etcd = environ.get(ETCD) or shutil.which("etcd", path=path)
    if not etcd or not os.access(etcd, os.X_OK):
        raise ControlPlaneError("there is no etcd on PATH", f"apt-get install etcd-server, or set {ETCD} to the file")
    openssl = shutil.which("openssl", path=path)
    if not openssl:
        raise ControlPlaneError("there is no openssl on PATH to make certificates with", "apt-get install openssl")
    return Programs(folder, Path(etcd).resolve(), Path(openssl))


def free_ports() -> Ports:
    """Five ports that nothing listens on now, asked of the kernel and all held until the last is known."""
    with ExitStack() as held:
        numbers = []
        for _ in range(5):
            asked = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            asked.bind((LOOPBACK, 0))
            numbers.append(int(asked.getsockname()[1]))
    return Ports(*numbers)


def need_free(ports: Ports) -> None:
    """Errors: ControlPlaneError when something listens on one of `ports` already, which would answer in our stead."""
    for name, number in asdict(ports).items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT does not block
            try:
                asked.bind((LOOPBACK, number))
            except OSError as error:
                what = f"port {number} on {LOOPBACK} ({name}) cannot be had: {error.strerror}"
                raise ControlPlaneError(what, f"see who has it: ss -ltnp 'sport = :{number}'") from None
