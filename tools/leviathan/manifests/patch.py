"""Strategic merge patches of the tool's objects, as `kubectl patch` and kustomize have them.

Source: Kubernetes, "Strategic merge patch" (sig-api-machinery); the keys of lists are those that its OpenAPI document
calls x-kubernetes-patch-merge-key. A list without such a key is replaced as a whole, and so is every list of an object
that is not of Kubernetes itself.
"""

from collections.abc import Mapping
from typing import Any

from leviathan.errors import RenderError
from leviathan.manifests.files import Object

#: Kind → name of a list → the key that identifies its entries.
KEYS: Mapping[str, Mapping[str, str]] = {
    "Deployment": {
        "containers": "name",
        "env": "name",
        "hostAliases": "ip",
        "imagePullSecrets": "name",
        "initContainers": "name",
        "ports": "containerPort",
        "topologySpreadConstraints": "topologyKey",
        "volumeMounts": "mountPath",
        "volumes": "name",
    },
    "Service": {"ports": "port"},
}
DIRECTIVE = "$patch"


def merged(target: Object, patch: Object, where: str) -> Object:
    """The object with the patch: null removes a field, `$patch: delete` an entry, `$patch: replace` what was there.

    Arguments: `where`, the patch's file, for errors. Errors: RenderError for a directive that is not one of these.
    """
    found = _map(target, patch, KEYS.get(target["kind"], {}), f"{where}: {target['kind']}/{target['metadata']['name']}")
    assert found is not None
    return found


def _map(old: Mapping[str, Any], patch: Mapping[str, Any], keys: Mapping[str, str], where: str) -> Object | None:
    directive = _directive(patch, where)
    if directive == "delete":
        return None
    found = {} if directive == "replace" else dict(old)
    for name, value in patch.items():
        if name == DIRECTIVE:
            continue
        before, place = found.get(name), f"{where}.{name}"
        if isinstance(value, dict):
            value = _map(before if isinstance(before, dict) else {}, value, keys, place)  # noqa: PLW2901
        elif isinstance(value, list) and name in keys:
            value = _list(before or [], value, keys[name], keys, place)  # noqa: PLW2901
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found


def _list(old: list[Any], patch: list[Any], key: str, keys: Mapping[str, str], where: str) -> list[Any]:
    found = list(old)
    for entry in patch:
        if entry == {DIRECTIVE: "replace"}:
            found = []
            continue
        if not isinstance(entry, dict) or key not in entry:
            raise RenderError(f"an entry of the list has no {key}", where=where, remedy=f"give {key}: entries go by it")
        place = next((at for at, each in enumerate(found) if each.get(key) == entry[key]), None)
        value = _map({} if place is None else found[place], entry, keys, f"{where}[{entry[key]}]")
        if place is None:
            found += [] if value is None else [value]
        else:
            found[place : place + 1] = [] if value is None else [value]
    return found


def _directive(patch: Mapping[str, Any], where: str) -> str:
    """What `$patch` says: delete, replace or merge. Errors: RenderError for another one."""
    unknown = [name for name in patch if name.startswith("$") and name != DIRECTIVE]
    found = str(patch.get(DIRECTIVE, "merge"))
    if unknown or found not in ("delete", "replace", "merge"):
        wrong = unknown[0] if unknown else f"{DIRECTIVE}: {found}"
        raise RenderError(
            f"{wrong} is not supported in a patch",
            where=where,
            remedy="use null, $patch: delete or $patch: replace",
        )
    return found
