"""Objects of the site's own, from the folder manifests.extra: applied, diffed and pruned like ours."""

from pathlib import Path

from leviathan.errors import RenderError
from leviathan.manifests.files import Object, read_documents
from leviathan.manifests.fit import INSTANCE
from leviathan.manifests.policy import MANAGED
from leviathan.site.schema import Site


def extra(site: Site) -> list[Object]:
    """The objects of every .yaml file below the folder, by name, with our labels and the site's namespace.

    Errors: RenderError when the folder or a file cannot be read, or an object is in another namespace.
    """
    if not site.manifests.extra:
        return []
    folder = Path(site.manifests.extra)
    paths = sorted(each for each in folder.glob("*") if each.suffix in (".yaml", ".yml"))
    if not paths:
        raise RenderError(
            "manifests.extra has no .yaml file",
            where=str(folder),
            remedy="correct the folder, or set it to an empty one",
        )
    found = [each for path in paths for each in read_documents(path)]
    for each in found:
        meta = each["metadata"]
        space = meta.setdefault("namespace", site.cluster.namespace)
        if space != site.cluster.namespace:
            raise RenderError(
                f"{each['kind']}/{meta.get('name')} is in the namespace {space}",
                where=str(folder),
                why=f"the site's is {site.cluster.namespace}, and nothing of another one is pruned",
                remedy="leave the namespace out, or apply the object with kubectl",
            )
        labels = meta.setdefault("labels", {})
        labels |= {MANAGED[0]: MANAGED[1]} | ({INSTANCE: site.release} if site.release else {})
    return found
