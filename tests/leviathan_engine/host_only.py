"""What a build sandbox forbids: other users, filters on sockets. `make check-host` runs these tests on the host."""

import os
import socket
from pathlib import Path

import pytest
from bad_clients import vanish


def need(there: bool, reason: str) -> None:
    """Skip the test where the machine lacks something; with LEVIATHAN_HOST=required that is a failure."""
    if there:
        return
    if os.environ.get("LEVIATHAN_HOST") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def need_users(uid: int) -> None:
    """The test becomes other users: it takes root, in a user namespace that knows them."""
    lines = [line.split() for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()]
    mapped = any(int(first) <= uid < int(first) + int(count) for first, _, count in lines)
    need(os.geteuid() == 0 and mapped, f"it takes root, and a user namespace with user {uid}")


def need_socket_filters() -> None:
    """The test lets a client vanish by a filter on its socket."""
    with socket.socket() as probe:
        try:
            vanish(probe)
        except PermissionError:
            need(False, "this sandbox forbids filters on sockets")
