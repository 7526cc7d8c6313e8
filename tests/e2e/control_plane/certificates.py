"""Certificates of a private cluster, made by openssl: one authority, the server's, one for each client.

Kubernetes reads a client's user name out of the subject's CN and its groups out of O (X.509 client certificates in its
authentication reference).
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ControlPlaneError

DAYS = "30"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path


def request_argv(openssl: Path, pair: Pair, subject: str) -> list[str]:
    """The call that makes a P-256 key and a signing request (`.csr`, next to the certificate) for `subject`."""
    new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    return [str(openssl), *new, "-subj", subject, "-keyout", str(pair.key), "-out", f"{pair.certificate}.csr"]


def sign_argv(openssl: Path, pair: Pair, authority: Pair, extensions: Path, serial: int) -> list[str]:
    """The call that signs the request of `pair` by `authority` with the `extensions` file."""
    what = ["x509", "-req", "-in", f"{pair.certificate}.csr", "-out", str(pair.certificate), "-days", DAYS]
    by = ["-CA", str(authority.certificate), "-CAkey", str(authority.key), "-set_serial", str(serial)]
    return [str(openssl), *what, *by, "-extfile", str(extensions)]


def authority_argv(openssl: Path, pair: Pair, name: str) -> list[str]:
    """The call that makes a self-signed authority."""
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", DAYS]
    marks = ["-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
    return [str(openssl), *new, "-subj", f"/CN={name}", *marks, "-keyout", str(pair.key), "-out", str(pair.certificate)]


def run(argv: Sequence[str]) -> None:
    """Errors: ControlPlaneError with openssl's last line."""
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ControlPlaneError(f"openssl {argv[1]} failed with status {done.returncode}: {last}")


class Authority:
    """A certificate authority that keeps its files in `folder`; what it has issued already is used again."""

    def __init__(self, openssl: Path, folder: Path, name: str = "leviathan-e2e") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.openssl = openssl
        self.folder = folder
        self.pair = self.files("ca")
        if not self.pair.certificate.exists():
            run(authority_argv(openssl, self.pair, name))

    def files(self, name: str) -> Pair:
        """The paths of a pair."""
        return Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def issue(self, name: str, user: str, groups: Sequence[str] = (), addresses: Sequence[str] = ()) -> Pair:
        """A certificate for `user` in `groups`; with `addresses` (`IP:…`, `DNS:…`) it is good for a server as well.

        Errors: ControlPlaneError with openssl's own words.
        """
        pair = self.files(name)
        if pair.certificate.exists():
            return pair
        lines = ["basicConstraints=CA:FALSE", "keyUsage=critical,digitalSignature"]
        usages = "clientAuth,serverAuth" if addresses else "clientAuth"
        lines.append(f"extendedKeyUsage={usages}")
        if addresses:
            lines.append(f"subjectAltName={','.join(addresses)}")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("\n".join(lines) + "\n", encoding="utf-8")
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        run(request_argv(self.openssl, pair, subject))
        run(sign_argv(self.openssl, pair, self.pair, extensions, len(list(self.folder.glob("*.ext"))) + 1))
        return pair
