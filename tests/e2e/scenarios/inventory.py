"""What is in the cluster: every object of every kind that can be listed, to compare before with after."""

import time
from collections.abc import Iterator

from e2e.control_plane.api import Api, Json
from leviathan.cluster.kinds import KINDS, SELECTOR, Kind

from .errors import WayError

#: What changes without us: events, and the heart beats of the node and of the API server.
PASSING = ("events", "leases", "componentstatuses")
SPECIFIC = ("uid", "generation", "labels", "annotations")  # of an object's metadata: what only a change of it changes


def groups(api: Api) -> Iterator[str]:
    """The prefix of each group's preferred version: /api/v1, /apis/apps/v1 and so on."""
    yield "/api/v1"
    for group in api.send("GET", "/apis")["groups"]:
        yield f"/apis/{group['preferredVersion']['groupVersion']}"


def collections(api: Api) -> Iterator[str]:
    """The path of each kind's objects, in all namespaces."""
    for prefix in groups(api):
        for one in api.send("GET", prefix)["resources"]:
            if "list" in one["verbs"] and "/" not in one["name"] and one["name"] not in PASSING:
                yield f"{prefix}/{one['name']}"


def inventory(api: Api, selector: str = "") -> dict[str, str]:
    """`COLLECTION NAMESPACE/NAME` → UID of all objects, or of those that a label selector chooses."""
    found = {}
    for path in collections(api):
        query = f"?labelSelector={selector.replace('=', '%3D')}" if selector else ""
        for item in api.send("GET", f"{path}{query}")["items"] or ():
            found[f"{path} {named(item)}"] = str(item["metadata"].get("uid", ""))
    return found


def ours(api: Api) -> dict[str, str]:
    """The same of what carries the tool's label."""
    return inventory(api, SELECTOR)


def settled(api: Api, pause: float = 2.0, seconds: float = 60.0) -> dict[str, str]:
    """The inventory once two of them, `pause` seconds apart, are equal: controllers make theirs after the start.

    Errors: WayError when that is not so within `seconds`.
    """
    until = time.monotonic() + seconds
    before = inventory(api)
    while time.monotonic() < until:
        time.sleep(pause)
        now = inventory(api)
        if now == before:
            return now
        before = now
    raise WayError(f"what is in the cluster has not come to rest within {seconds:.0f} s")


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is gone, new or recreated, each with that word before it; empty when nothing is."""
    return [
        *(f"gone: {key}" for key in before if key not in after),
        *(f"new: {key}" for key in after if key not in before),
        *(f"recreated: {key}" for key in before if key in after and before[key] != after[key]),
    ]


def wanted(api: Api, version: bool) -> dict[str, Json]:
    """What is wanted of the objects of the tool's kinds that carry its label, and of all namespaces.

    Arguments: `version`, whether each one's resourceVersion is given as well, which its status changes too.
    """
    found = {}
    for kind in KINDS:
        for item in api.send("GET", f"{kind.prefix}/{kind.plural}{chosen(kind)}")["items"] or ():
            metadata = item["metadata"]
            if "deletionTimestamp" in metadata:  # being deleted: left out; one deleted only now shows as missing
                continue
            keys = (*SPECIFIC, "resourceVersion") if version else SPECIFIC
            found[f"{kind.name} {named(item)}"] = {
                "spec": item.get("spec"),
                **{key: metadata.get(key) for key in keys},
            }
    return found


def chosen(kind: Kind) -> str:
    """The query for those of a kind that matter: all namespaces, since that of the engine does not carry the label."""
    return "" if kind.name == "Namespace" else f"?labelSelector={SELECTOR.replace('=', '%3D')}"


def named(item: Json) -> str:
    """NAMESPACE/NAME of an object."""
    metadata = item["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
