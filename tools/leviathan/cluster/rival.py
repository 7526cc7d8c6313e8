"""Finds objects of another release that have the names of this release's objects: applying would take them over."""

from collections.abc import Callable

from leviathan.cluster.kinds import is_ours, title
from leviathan.manifests.files import Object
from leviathan.manifests.fit import INSTANCE
from leviathan.site.schema import RUNBOOK_DEPLOYMENT

#: The key that gives an object of this kind another name.
KEYS = {
    "PersistentVolume": "storage.volume",
    "PersistentVolumeClaim": "storage.volume",
    "Service": "workload.service",
}


def rival(wanted: Object, live: Object, get: Callable[[str], Object | None]) -> tuple[str, str]:
    """Why `live` belongs to another release, and the remedy; two empty strings if it does not.

    `get` reads an API path, and returns None if there is no object. A namespace may be shared.
    """
    if wanted["kind"] == "Namespace" or not is_ours(live):
        return "", ""
    whose = _whose(wanted, live, get)
    key = KEYS.get(wanted["kind"], "workload.deployment")
    return (
        (f"{title(wanted)} {whose}", f"give this release's object another name: --set {key}=NAME")
        if whose
        else ("", "")
    )


def _whose(wanted: Object, live: Object, get: Callable[[str], Object | None]) -> str:
    claims = [each["spec"].get("claimRef") or {} for each in (wanted, live) if each["kind"] == "PersistentVolume"]
    places = [f"{each.get('namespace')}/{each.get('name')}" for each in claims if each]
    if len(set(places)) == 2:
        return f"exists already, for the claim {places[1]}"
    mine, theirs = ((each["metadata"].get("labels") or {}).get(INSTANCE, "") for each in (wanted, live))
    if theirs and theirs != mine:
        return f"belongs to the release {theirs}"
    if mine and not theirs and wanted["kind"] in ("PersistentVolume", "PersistentVolumeClaim"):
        # The runbook's release has no label, and earlier versions of the tool set none on any release.
        space = claims[0]["namespace"] if claims else wanted["metadata"]["namespace"]
        runbook = get(f"/apis/apps/v1/namespaces/{space}/deployments/{RUNBOOK_DEPLOYMENT}")
        if runbook is not None and is_ours(runbook, ""):
            return f"belongs to the release {RUNBOOK_DEPLOYMENT}"
    return ""
