"""Asks the API server, with a dry run per object, what applying the manifests would change.

Checks all objects before changing any. So all conflicts and refusals are reported at once, and a deployment that cannot
be applied completely is not applied in part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan.cluster.client import MANAGER, Cause, Cluster, ClusterError
from leviathan.cluster.kinds import in_order, is_ours, path_of, title
from leviathan.cluster.managed_fields import MISSING, applied_fields, value_at, without_servers
from leviathan.cluster.rival import rival
from leviathan.manifests.files import Object
from leviathan.manifests.policy import MANAGED


class Change(Enum):
    """What happens to an object."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    PRUNED = "pruned"


@dataclass(frozen=True)
class Conflict:
    """A field that another manager owns with a different value: `now` is its value, `wanted` that of the manifests."""

    object: str
    field: str
    manager: str
    now: Any
    wanted: Any

    @property
    def owner(self) -> str:
        """The field manager that owns the field."""
        return self.manager or "another manager"

    def text(self) -> str:
        """The conflict in one line, with what --force-conflicts would do."""
        return (
            f"{self.object}: {self.field} is owned by {self.owner} and is {_shown(self.now)}; "
            f"--force-conflicts would set it to {_shown(self.wanted)} and make {MANAGER} its owner"
        )

    def overruled(self) -> str:
        """What --force-conflicts does to the field, in one line."""
        return (
            f"{self.object}: {self.field} changes from {_shown(self.now)} to {_shown(self.wanted)}, and its owner from "
            f"{self.owner} to {MANAGER}"
        )

    def data(self) -> dict[str, Any]:
        """The conflict for programs."""
        now, wanted = (None if each is MISSING else each for each in (self.now, self.wanted))
        named = {"object": self.object, "field": self.field, "manager": self.manager}
        return {**named, "now": now, "wanted": wanted}


@dataclass(frozen=True)
class Step:
    """One object: `wanted`, `live` (None: does not exist), and the `result` of applying it with --force-conflicts.

    `result` is None if the server cannot check the object, because its namespace does not exist yet.
    """

    wanted: Object
    live: Object | None
    result: Object | None
    conflicts: tuple[Conflict, ...] = ()

    @property
    def title(self) -> str:
        """Kind/name."""
        return title(self.wanted)

    @property
    def change(self) -> Change:
        """What applying changes. If only the field manager changes, the object counts as configured."""
        if self.live is None:
            return Change.CREATED
        if self.result is None or without_servers(self.live) != without_servers(self.result):
            return Change.CONFIGURED
        return Change.CONFIGURED if self.adopts else Change.UNCHANGED

    @property
    def adopts(self) -> bool:
        """Whether applying keeps all values, but makes us the manager of fields."""
        if self.live is None or self.result is None or without_servers(self.live) != without_servers(self.result):
            return False
        return applied_fields(self.live, MANAGER) != applied_fields(self.result, MANAGER)


def look(cluster: Cluster, objects: Sequence[Object]) -> list[Step]:
    """One step per object, in the order of applying.

    An existing namespace without our label does not get it, so `leviathan delete` never deletes that namespace.
    Errors: ClusterError; if the server refuses several objects, one error for all.
    """
    steps: list[Step] = []
    refusals: list[tuple[str, ClusterError]] = []
    absent: set[str] = set()
    for each in in_order(objects):
        live = None if each["metadata"].get("namespace") in absent else cluster.get(path_of(each))
        wanted = each
        if each["kind"] == "Namespace":
            if live is None:
                absent.add(each["metadata"]["name"])
            else:
                _refuse_terminating(cluster, live)
                wanted = each if is_ours(live) else _without_label(each)
        if each["metadata"].get("namespace") in absent:
            steps.append(Step(wanted, None, None))
            continue
        try:
            if live is not None:
                _refuse_rival(cluster, wanted, live)
            steps.append(_step(cluster, wanted, live))
        except ClusterError as error:
            if not error.status:
                raise
            refusals.append((title(each), error))
    if refusals:
        raise _together(refusals)
    return steps


def _step(cluster: Cluster, wanted: Object, live: Object | None) -> Step:
    path = path_of(wanted)
    try:
        return Step(wanted, live, cluster.apply(path, wanted, dry_run=True))
    except ClusterError as error:
        if not any(each.manager for each in error.causes):
            raise
        conflicts = tuple(
            Conflict(title(wanted), each.field, each.manager, value_at(live, each.field), value_at(wanted, each.field))
            for each in error.causes
        )
    return Step(wanted, live, cluster.apply(path, wanted, force=True, dry_run=True), conflicts)


def refuse_conflicts(steps: Sequence[Step]) -> None:
    """Raise ClusterError 409, which names each field in conflict, if there are conflicts."""
    found = [each for step in steps for each in step.conflicts]
    if not found:
        return
    raise ClusterError(
        "another field manager owns a field" if len(found) == 1 else f"other field managers own {len(found)} fields",
        why=" | ".join(each.text() for each in found),
        remedy="keep their values, or run the command again with --force-conflicts",
        status=409,
        reason="Conflict",
        causes=[
            Cause("FieldManagerConflict", f'conflict with "{each.manager}"', f"{each.object}{each.field}")
            for each in found
        ],
    )


def _refuse_rival(cluster: Cluster, wanted: Object, live: Object) -> None:
    what, remedy = rival(wanted, live, cluster.get)
    if what:
        why = "applying would take it over from that release"
        raise ClusterError(what, why=why, remedy=remedy, status=409, reason="Conflict")


def _refuse_terminating(cluster: Cluster, namespace: Object) -> None:
    name = namespace["metadata"]["name"]
    if "deletionTimestamp" not in namespace["metadata"]:
        return
    conditions = (namespace.get("status") or {}).get("conditions") or []
    raise ClusterError(
        f"the namespace {name} is being deleted",
        why=" | ".join(each["message"] for each in conditions if each.get("status") == "True"),
        remedy=f"wait until it is gone: {cluster.kubectl} wait --for=delete namespace/{name}",
        status=403,
        reason="NamespaceTerminating",
    )


def _without_label(namespace: Object) -> Object:
    labels = {key: value for key, value in namespace["metadata"].get("labels", {}).items() if key != MANAGED[0]}
    return {**namespace, "metadata": {**namespace["metadata"], "labels": labels}}


def _together(refusals: Sequence[tuple[str, ClusterError]]) -> ClusterError:
    first = refusals[0][1]
    if len(refusals) == 1:
        return first
    return ClusterError(
        f"the cluster refuses {len(refusals)} objects",
        why=" | ".join(f"{name}: {error.why}" for name, error in refusals),
        remedy=" | ".join(dict.fromkeys(error.remedy for _, error in refusals)),
        status=first.status,
        reason=first.reason,
        causes=[cause for _, error in refusals for cause in error.causes],
    )


def _shown(value: Any) -> str:
    if value is MISSING:
        return "(not set)"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
