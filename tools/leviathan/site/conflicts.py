"""Finds values of the site file that are valid one by one but contradict each other."""

from leviathan.site.choices import Kept, Storage, Variant
from leviathan.site.quantity import parse_quantity
from leviathan.site.schema import Site


def conflicts(site: Site) -> list[str]:
    """All contradictions, each as `section.key: why`; empty if there are none."""
    found = []
    if len(site.engine.gpu_split) != site.resources.gpus:
        found.append(
            f"engine.gpu_split: expected one integer per GPU (resources.gpus = {site.resources.gpus}), "
            f"got {len(site.engine.gpu_split)}"
        )
    if any(share < 0 for share in site.engine.gpu_split):
        found.append("engine.gpu_split: expected integers of 0 or more, got a negative one")
    if 0 < site.engine.cache_lens <= site.engine.max_new_tokens:
        found.append(
            f"engine.max_new_tokens: {site.engine.max_new_tokens} leaves no room for a prompt in "
            f"engine.cache_lens = {site.engine.cache_lens}"
        )
    for name in ("cpu", "memory"):
        request, limit = getattr(site.resources, f"{name}_request"), getattr(site.resources, f"{name}_limit")
        if parse_quantity(request) > parse_quantity(limit):
            found.append(f"resources.{name}_request: {request} is more than resources.{name}_limit = {limit}")
    mount = site.storage.mount_point.rstrip("/")
    if not site.engine.model_path.startswith(f"{mount}/"):
        found.append(f"engine.model_path: {site.engine.model_path} is not below storage.mount_point = {mount or '/'}")
    if site.storage.kind is not Storage.EXISTING_CLAIM and site.model.size_gb > site.storage.size_gb:
        size = f"{site.storage.size_gb:g}"
        found.append(f"model.size_gb: {site.model.size_gb:g} GB do not fit into storage.size_gb = {size}")
    if site.image.make_pull_secret and not site.image.pull_secret:
        found.append("image.make_pull_secret: needs the name of the Secret in image.pull_secret")
    if site.model.repository and site.model.urls:
        found.append("model.urls: cannot be used together with model.repository; remove one of them")
    if site.access.allow_from and not site.access.network_policy:
        found.append("access.allow_from: has no effect without access.network_policy = true")
    if site.access.ingress_tls_secret and not site.access.ingress_host:
        found.append("access.ingress_tls_secret: has no effect without access.ingress_host")
    return found + _storage_conflicts(site)


def _storage_conflicts(site: Site) -> list[str]:
    found, kind = [], site.storage.kind
    if kind is not Storage.PARTITION and site.workload.variant is Variant.PRIVILEGED:
        found.append(
            f"workload.variant: privileged is only for storage.kind = partition, got storage.kind = {kind.value}; "
            "remove the key, or set it to unprivileged"
        )
    if kind is Storage.EXISTING_CLAIM and not site.storage.claim:
        found.append("storage.claim: expected the name of the claim that holds the model, got ''")
    if site.engine.kept is Kept.CLAIM and site.engine.kept_claim in ("", site.claim):
        found.append("engine.kept_claim: expected a separate claim for conversations; the model's claim is read-only")
    if kind is Storage.HOST_PATH and not site.storage.path:
        found.append("storage.path: expected the folder on the node that has the model, got ''")
    bound = kind is Storage.HOST_PATH or (kind is Storage.PARTITION and site.workload.variant is Variant.UNPRIVILEGED)
    if bound and not site.node_selector:
        found.append(
            f"cluster.node: storage.kind = {kind.value} is on one node; set its name here, or set cluster.node_labels"
        )
    return found
