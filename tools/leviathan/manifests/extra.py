"""The site's own folder manifests.extra: objects that are applied, diffed and pruned like ours, and patches of ours."""

from collections.abc import Iterator
from pathlib import Path

from leviathan.errors import RenderError
from leviathan.manifests.fields import ENGINE, get_field
from leviathan.manifests.files import Object, read_documents
from leviathan.manifests.fit import INSTANCE
from leviathan.manifests.patch import merged
from leviathan.manifests.policy import MANAGED
from leviathan.site.schema import Site


def extra(site: Site, ours: list[Object]) -> list[Object]:
    """The objects of every .yaml file below the folder, by name, with our labels and the site's namespace.

    A document with the kind and the name of one of `ours` is a patch: that object is replaced in the list.
    Errors: RenderError when the folder or a file cannot be read, an object is in another namespace, or a patch cannot
    be merged.
    """
    found: list[Object] = []
    for path, each in _documents(site):
        meta = each["metadata"]
        space = meta.get("namespace", site.cluster.namespace)
        if space != site.cluster.namespace:
            raise RenderError(
                f"{each['kind']}/{meta.get('name')} is in the namespace {space}",
                where=str(path),
                why=f"the site's is {site.cluster.namespace}, and nothing of another one is pruned",
                remedy="leave the namespace out, or apply the object with kubectl",
            )
        place = next((at for at, target in enumerate(ours) if _same(target, each)), None)
        if place is not None:
            ours[place] = _patched(ours[place], each, path)
            continue
        meta["namespace"] = space
        labels = meta.setdefault("labels", {})
        labels |= {MANAGED[0]: MANAGED[1]} | ({INSTANCE: site.release} if site.release else {})
        found.append(each)
    return found


def _documents(site: Site) -> Iterator[tuple[Path, Object]]:
    if not site.manifests.extra:
        return
    folder = Path(site.manifests.extra)
    paths = sorted(each for each in folder.glob("*") if each.suffix in (".yaml", ".yml"))
    if not paths:
        raise RenderError(
            "manifests.extra has no .yaml file",
            where=str(folder),
            remedy="correct the folder, or set it to an empty one",
        )
    for path in paths:
        for each in read_documents(path):
            yield path, each


def _same(one: Object, other: Object) -> bool:
    return (one["kind"], one["metadata"]["name"]) == (other["kind"], other["metadata"].get("name"))


def _patched(target: Object, patch: Object, path: Path) -> Object:
    """The object with its patch. Errors: RenderError; also for another image, of which the tool would know nothing."""
    found = merged(target, patch, str(path))
    if target["kind"] == "Deployment" and _image(found) != _image(target):
        raise RenderError(
            f"a patch gives Deployment/{target['metadata']['name']} another image",
            where=str(path),
            why="push, rollout and rollback go by the site's",
            remedy="leave it out, and set image.repository, image.tag or image.digest",
        )
    return found


def _image(deployment: Object) -> object:
    return get_field(deployment, (*ENGINE, "image"))
