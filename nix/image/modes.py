"""Writes the modes and owners that $debs set and a Nix store cannot hold, as JSON to the path in argv[1].

Only what differs from the layer's defaults (folders 0755, files 0644 or 0755, owner 0:0) is written, in the format of
`leviathan_image.modes`. Packages name /bin and /lib; the image has them under /usr.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

MERGED = ("bin", "sbin", "lib", "lib64")

# What maintainer scripts and the kernel want besides; none of it comes out of a package.
BY_HAND = {
    "tmp": {"mode": "1777", "type": "dir"},
    "var/tmp": {"mode": "1777", "type": "dir"},
    "root": {"mode": "0700", "type": "dir"},
    "run/lock": {"mode": "1777", "type": "dir"},
}


def place(name: str) -> str:
    """The path in the image of a package's member."""
    path = name.removeprefix("./").rstrip("/")
    return f"usr/{path}" if path.split("/")[0] in MERGED else path


def special(member: tarfile.TarInfo) -> bool:
    """Whether the layer's defaults would lose something of this member."""
    if member.issym():
        return False
    plain = {0o755} if member.isdir() else {0o644, 0o755}
    return (member.mode & 0o7777) not in plain or member.uid != 0 or member.gid != 0


def main() -> None:
    root = Path(sys.argv[2])
    table: dict[str, dict[str, object]] = {}
    for deb in os.environ["debs"].split():
        with (
            subprocess.Popen(["ar", "p", deb, "data.tar.xz"], stdout=subprocess.PIPE) as unpack,
            tarfile.open(fileobj=unpack.stdout, mode="r|xz") as archive,
        ):
            for member in archive:
                path = place(member.name)
                if path and special(member) and (root / path).exists():
                    table[path] = {"mode": f"{member.mode & 0o7777:04o}", "uid": member.uid, "gid": member.gid}
    table |= BY_HAND
    Path(sys.argv[1]).write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


main()
