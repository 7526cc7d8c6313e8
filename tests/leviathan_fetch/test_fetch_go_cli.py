"""The command line for the Kubernetes programs as a process, with stand-ins for nix-store and Go in its PATH."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import BODY, Checkout, Record

from leviathan_fetch.kubernetes import __main__ as go
from leviathan_fetch.kubernetes import go as go_client
from leviathan_fetch.kubernetes import go_lock
from leviathan_fetch.project import Project

TAR = "kubernetes-modules-1.tar"
GO = """#!/bin/sh
test "$1" = env && echo go1.24.4 && exit
echo 'go: a@v1: Get "v1.mod": dial tcp: lookup proxy: no such host' >&2
exit 1
"""


def run(checkout: Checkout, *arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "leviathan_fetch.kubernetes", *arguments]
    return subprocess.run(
        argv, cwd=checkout.folder, env=checkout.environment, text=True, capture_output=True, timeout=60, check=False
    )


def lock(checkout: Checkout, root: Path, deb: Record, *, modules: bool) -> None:
    """A lock with the package `deb` and a tar of modules, which the store has if `modules`."""
    shutil.copytree(root / "nix" / "kubernetes", checkout.folder / "nix" / "kubernetes")
    project = Project(checkout.folder)
    tar = checkout.record("go", TAR, b"modules", TAR)
    entry = {key: deb[key] for key in ("architecture", "filename", "sha256", "suite", "version")} | {"size": len(BODY)}
    value = {
        "suite": "bookworm",
        "architecture": "amd64",
        "debs": {"etcd-server": entry},
        "modules": {
            "filename": TAR,
            "sha256": tar["sha256"],
            "size": 7,
            "sources_sha256": go_lock.sources_digest(go_lock.source_folder(project)),
            "version": "1",
        },
    }
    go_lock.lock_file(project).write_text(json.dumps(value))
    checkout.artifacts([deb, tar])
    if modules:
        (checkout.folder / "store" / Path(tar["store"]).name).write_bytes(b"modules")
    (checkout.folder.parent / "bin" / "go").write_text(GO)
    (checkout.folder.parent / "bin" / "go").chmod(0o755)


def test_what_an_interrupted_fetch_of_the_image_left_stays(checkout: Checkout, root: Path) -> None:
    part = checkout.folder / ".leviathan" / "downloads" / ("f" * 64) / "part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half of a wheel")
    lock(checkout, root, checkout.deb("etcd.deb"), modules=True)
    done = run(checkout, "fetch")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "fetch: 2 artifacts of Kubernetes 1 in the store, 1 of them new\n"
    assert part.read_bytes() == b"half of a wheel"
    assert not (part.parents[2] / "downloads-kubernetes").exists()


@pytest.mark.parametrize(("modules", "status"), [(True, 1), (False, 3)])
def test_only_a_module_proxy_out_of_reach_is_status_3(
    checkout: Checkout, root: Path, modules: bool, status: int
) -> None:
    """With the modules in the store it is the Debian mirror that fails, else Go's proxy."""
    deb = checkout.deb("etcd.deb", fail=[403] * 9 if modules else [])
    lock(checkout, root, deb, modules=modules)
    done = run(checkout, "fetch")
    assert done.returncode == status
    last = done.stderr.splitlines()[-1]
    assert ("etcd.deb is refused" if modules else "no Go module proxy is reachable") in last


@pytest.mark.parametrize("command", ["lock", "fetch"])
def test_a_host_without_go_and_no_package_that_has_it(
    checkout: Checkout, root: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock(checkout, root, checkout.deb("etcd.deb"), modules=False)
    (checkout.folder.parent / "bin" / "go").unlink()
    monkeypatch.setattr(go_client, "PLACES", ())
    for name, value in checkout.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(checkout.folder.parent / "bin"))
    assert go.main([command, "--project", str(checkout.folder)]) == 1
    assert capsys.readouterr().err == (
        "leviathan: this host has no Go 1.24 or newer; install one, on PATH or in /usr/local/go\n"
    )
