"""A checkout with a stand-in for nix-store on its PATH, and the command line as processes in it."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from http_site import How, Site

BODY = bytes(range(256)) * 8192
PYPI = "application/vnd.pypi.simple.v1+json"
Record = dict[str, Any]  # one object of the list of artifacts, as JSON has it


@dataclass(frozen=True)
class Checkout:
    """A checkout with a stand-in for nix-store on its PATH."""

    folder: Path
    environment: dict[str, str]
    site: Site

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "leviathan_fetch", *arguments]

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.argv(*arguments),
            cwd=self.folder,
            env={**self.environment, **environment},
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.argv(*arguments),
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def artifacts(self, records: Sequence[Record]) -> list[str]:
        (self.folder / "list.json").write_text(json.dumps(records))
        names = {record["name"]: record["store"] for record in records}
        (self.folder / "store" / "names").write_text(json.dumps(names))
        return ["fetch", "--artifacts", "list.json"]

    def deb(self, name: str, body: bytes = BODY, **how: Unpack[How]) -> Record:
        self.site.serve(f"/debian/pool/{name}", body, **how)
        return self.record("deb", name, body, f"pool/{name}") | {"suite": "bookworm", "architecture": "amd64"}

    def wheel(self, name: str, body: bytes = BODY, **how: Unpack[How]) -> Record:
        project = name.split("-")[0]
        digest = hashlib.sha256(body).hexdigest()
        listing = {"files": [{"filename": name, "url": f"/files/{name}", "hashes": {"sha256": digest}}]}
        self.site.serve(f"/simple/{project}/", json.dumps(listing).encode(), kind=PYPI)
        self.site.serve(f"/files/{name}", body, **how)
        return self.record("pypi", name, body, name) | {"package": project}

    def record(self, kind: str, name: str, body: bytes, filename: str) -> Record:
        digest = hashlib.sha256(body).hexdigest()
        store = f"/nix/store/{digest[:32]}-{name}"
        values: Record = {"kind": kind, "name": name, "sha256": digest, "store": store, "filename": filename}
        return values | {"package": "p", "version": "1", "size": None}

    def added(self) -> list[str]:
        return sorted(path.name.partition("-")[2] for path in (self.folder / "store").iterdir() if path.name != "names")


def make(site: Site, root: Path, tmp_path: Path) -> Checkout:
    """A checkout below `tmp_path` with the locks of the one at `root`, whose mirrors are on `site`."""
    folder = tmp_path / "checkout"
    programs = tmp_path / "bin"
    for path in (folder / "nix" / "locks", folder / "store", programs):
        path.mkdir(parents=True)
    for name in ("pyproject.toml", "poetry.lock"):
        shutil.copyfile(root / name, folder / name)
    shutil.copytree(root / "nix" / "locks", folder / "nix" / "locks", dirs_exist_ok=True)
    program = programs / "nix-store"
    program.write_text(f"#!{sys.executable}\n" + Path(__file__).with_name("nix_store.py").read_text())
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(root / "tools"),
        "FAKE_STORE": str(folder / "store"),
        "LEVIATHAN_DEBIAN_MIRROR": site.url + "/debian",
        "LEVIATHAN_INDEX_URL": site.url + "/simple",
    }
    return Checkout(folder, environment, site)
