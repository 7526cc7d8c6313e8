"""Whose line in the queue a request waits in.

An address alone does not tell clients apart: a NodePort with `externalTrafficPolicy: Cluster` shows every one of them
under a node's address. So what a client says of itself counts too: its API key, OpenAI's `user` and
`safety_identifier`.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from .access.key_ring import offered

FIELDS = ("user", "safety_identifier")


def queue_key(scope: Scope, body: Mapping[str, Any]) -> str:
    """The line's name: a digest, so that neither a key nor a long name is kept. Fields that are no text are ignored."""
    address = (scope.get("client") or ("",))[0]
    key = b" ".join(offered(scope)).decode("latin-1")
    said = [body[name] if isinstance(body.get(name), str) else "" for name in FIELDS]
    return hashlib.sha256(json.dumps([address, key, *said]).encode("ascii")).hexdigest()
