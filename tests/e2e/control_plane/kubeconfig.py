"""Kubeconfig files: plain JSON, which is YAML too."""

import base64
import json
from pathlib import Path

from .certificates import Pair


def inline(file: Path) -> str:
    """A file's bytes as kubeconfig's *-data fields want them."""
    return base64.b64encode(file.read_bytes()).decode("ascii")


def write(target: Path, server: str, authority: Path, user: Pair | str, context: str = "leviathan-e2e") -> Path:
    """Write a kubeconfig with one context to `target` (mode 0600) and return it.

    `server` is the API server's address, `authority` its CA's PEM file, `user` a client certificate or a bearer token.
    """
    if isinstance(user, Pair):
        entry = {"client-certificate-data": inline(user.certificate), "client-key-data": inline(user.key)}
    else:
        entry = {"token": user}
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": inline(authority)}}],
        "users": [{"name": context, "user": entry}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return target
