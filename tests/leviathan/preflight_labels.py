"""One check of preflight without a cluster; images and nodes with labels."""

import hashlib
import json
from pathlib import Path
from typing import Any

from push_support import Talk, make_layout

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.preflight.check_result import CheckResult
from leviathan.preflight.facts import Facts
from leviathan.preflight.march import PREFIX
from leviathan.preflight.preflight_phase import CHECKS, ask
from leviathan.site.schema import Site
from leviathan.terminal.output import Console


def no_cluster() -> Cluster:
    raise ClusterError("no kubeconfig found", reason="NoKubeconfig", remedy="set KUBECONFIG")


def look(check: str, site: Site, home: Path, **more: Any) -> list[CheckResult]:
    """What one check finds where there is no cluster."""
    facts = Facts(site, {"HOME": str(home)}, Console(Talk()), connect=no_cluster, **more)
    return ask(CHECKS[check], facts)


# --- march


def labels(*names: str) -> dict[str, str]:
    return {f"{PREFIX}{name}": "true" for name in names}


def labelled(folder: Path, labels: dict[str, str] | None) -> Path:
    """A layout whose image has these labels."""
    layout = make_layout(folder, (1000,)).path
    blobs = layout / "blobs/sha256"

    def put(content: object) -> dict[str, Any]:
        data = json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    index = json.loads((layout / "index.json").read_text())
    [entry] = index["manifests"]
    manifest = json.loads((blobs / entry["digest"][7:]).read_text())
    manifest["config"] |= put({"architecture": "amd64", **({} if labels is None else {"config": {"Labels": labels}})})
    index["manifests"] = [entry | put(manifest)]
    (layout / "index.json").write_text(json.dumps(index))
    return layout


# --- cards

GFD = "nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"


def card(major: int, minor: int, **more: str) -> dict[str, str]:
    return {GFD[0]: str(major), GFD[1]: str(minor)} | {key.replace("__", "."): value for key, value in more.items()}
