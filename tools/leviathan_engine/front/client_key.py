"""Whose line in the queue a request waits in.

A name has two parts. The first is what a client cannot choose: its address and the API key that it has proved to have.
Those are served in turn, and the places are shared among them. The second is what it says of itself: OpenAI's `user`
and `safety_identifier`, Anthropic's `metadata.user_id`, and a key that nobody asked for. It tells apart those who share
the first part, as all do that come through a NodePort with `externalTrafficPolicy: Cluster`, and it takes no place from
others.
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
    """The line's name: digests, so that neither a key nor a long name is kept. Fields that are not text are ignored."""
    address = address_group((scope.get("client") or ("",))[0])
    key = record_of(scope).key
    unproved = "" if key else b" ".join(offered(scope)).decode("latin-1")
    metadata = body.get("metadata")
    named = [body.get(name) for name in FIELDS] + [metadata.get("user_id") if isinstance(metadata, dict) else None]
    fields = [name if isinstance(name, str) else "" for name in named]
    return line_name(_digest([address, key]), _digest([unproved, *fields]))


def _digest(words: list[str]) -> str:
    return hashlib.sha256(json.dumps(words).encode("ascii")).hexdigest()
