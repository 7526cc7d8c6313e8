"""A kubeconfig of a test, and the client that it gives."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster_support import QUICK
from fakes.replay_api import Answer, ReplayApi

from leviathan.cluster.client import Cluster, connect
from leviathan.site.schema import Site

VERSION = Answer(body={"gitVersion": "v1.34.1"})


def kubeconfig(
    folder: Path, api: ReplayApi, user: Mapping[str, Any], *, ca_file: Path | None = None, **cluster: Any
) -> dict[str, str]:
    """An environment with a kubeconfig whose user has these fields, and whose cluster has these as well."""
    path = api.kubeconfig(folder, ca_file=ca_file)
    content = json.loads(path.read_text())
    content["users"][0]["user"] = user
    content["clusters"][0]["cluster"] |= {name.replace("_", "-"): value for name, value in cluster.items()}
    path.write_text(json.dumps(content))
    return {"KUBECONFIG": str(path)}


def opened(site: Site, environ: Mapping[str, str]) -> Cluster:
    """A client that is not patient."""
    cluster = connect(site, environ)
    cluster.transport.patience = QUICK
    return cluster
