"""Computes the key of the queue in which a request waits.

The key has two parts. A client cannot choose the first one: its address and its verified API key. The queue serves
these clients in turn, and shares its places among them. The second part is what the client claims: OpenAI's `user` and
`safety_identifier`, Anthropic's `metadata.user_id`, and an API key if the server needs none. It separates clients with
the same first part, such as all that come through a NodePort with `externalTrafficPolicy: Cluster`, and takes no places
from others.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from .access.key_ring import offered
from .access.record import record_of
from .connections import address_group
from .fair_queue import line_name

FIELDS = ("user", "safety_identifier")


def queue_key(scope: Scope, body: Mapping[str, Any]) -> str:
    """Returns the key; its parts are digests, so no API key is kept. Ignores fields that are not strings."""
    address = address_group((scope.get("client") or ("",))[0])
    key = record_of(scope).key
    unproved = "" if key else b" ".join(offered(scope)).decode("latin-1")
    metadata = body.get("metadata")
    named = [body.get(name) for name in FIELDS] + [metadata.get("user_id") if isinstance(metadata, dict) else None]
    fields = [name if isinstance(name, str) else "" for name in named]
    return line_name(_digest([address, key]), _digest([unproved, *fields]))


def _digest(words: list[str]) -> str:
    return hashlib.sha256(json.dumps(words).encode("ascii")).hexdigest()
