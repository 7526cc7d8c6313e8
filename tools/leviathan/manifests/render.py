"""Fills the site's values into the manifests: loads the YAML, sets fields, holds the result to the policy.

Fields are set only where the template has them, so that template and code cannot drift apart unseen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan.errors import RenderError
from leviathan.manifests.files import Object, dump, manifest_folder, read_template
from leviathan.manifests.policy import check
from leviathan.registry.layout import load_image
from leviathan.site.schema import Site, Variant
from leviathan.site.start_budget import PROBE_PERIOD_S, StartBudget, start_budget

POD = ("spec", "template", "spec")
ENGINE = (*POD, "containers", "[engine]")


@dataclass(frozen=True)
class Rendered:
    """The objects to apply, in order, the image they run, and the start budget."""

    objects: tuple[Object, ...]
    image: str
    budget: StartBudget

    def text(self) -> str:
        """The objects as YAML."""
        return dump(self.objects)


def render(site: Site, environ: Mapping[str, str]) -> Rendered:
    """The manifests of the site's variant with the site's values.

    The image's digest is `image.digest`, else that of the layout `image.layout`.
    Errors: LayoutError when there is no digest; RenderError when the template lacks a field or the policy is broken.
    """
    digest = site.image.digest or load_image(Path(site.image.layout), site.image.tag).top.digest
    image = f"{site.registry.host}/{site.image.repository}@{digest}"
    budget = start_budget(site)
    objects = read_template(manifest_folder(environ), site.workload.variant)
    for each in objects:
        for path, value in _values(each["kind"], site, image, budget):
            set_field(each, path, value)
        if each["kind"] == "Deployment":
            _set_flags(each, site)
    findings = check(objects, budget)
    if findings:
        raise RenderError(
            "the manifests break the policy"
            if len(findings) == 1
            else f"the manifests break the policy {len(findings)} times",
            why=" | ".join(finding.text() for finding in findings),
            remedy="correct manifests/, or add an exception with its reason in tools/leviathan/manifests/policy.py",
        )
    return Rendered(tuple(objects), image, budget)


def _values(kind: str, site: Site, image: str, budget: StartBudget) -> list[tuple[tuple[str, ...], Any]]:
    """What is set in an object of `kind`: path → value."""
    namespace, app = site.cluster.namespace, site.workload.app
    namespaced = (("metadata", "namespace"), namespace)
    size = f"{site.nvme.size_gb:.0f}G"
    port, node = site.engine.port, site.cluster.node
    if kind == "Namespace":
        return [(("metadata", "name"), namespace)]
    if kind == "PersistentVolume":
        term = ("spec", "nodeAffinity", "required", "nodeSelectorTerms", "0", "matchExpressions", "0", "values")
        return [
            (("spec", "capacity", "storage"), size),
            (("spec", "claimRef", "namespace"), namespace),
            (("spec", "local", "path"), site.nvme.partition),
            (("spec", "local", "fsType"), site.nvme.filesystem),
            (term, [node]),
        ]
    if kind == "PersistentVolumeClaim":
        return [namespaced, (("spec", "resources", "requests", "storage"), size)]
    if kind == "Service":
        return [
            namespaced,
            (("metadata", "name"), site.workload.service),
            (("metadata", "labels", "app"), app),
            (("spec", "selector", "app"), app),
            (("spec", "ports", "[http]", "port"), port),
            (("spec", "ports", "[http]", "nodePort"), site.engine.node_port),
        ]
    if kind == "Deployment":
        res, gpus = site.resources, str(site.resources.gpus)
        values: list[tuple[tuple[str, ...], Any]] = [
            namespaced,
            (("metadata", "name"), site.workload.deployment),
            (("metadata", "labels", "app"), app),
            (("spec", "selector", "matchLabels", "app"), app),
            (("spec", "template", "metadata", "labels", "app"), app),
            (("spec", "progressDeadlineSeconds"), budget.progress_deadline_s),
            ((*POD, "runtimeClassName"), site.cluster.runtime_class),
            ((*POD, "nodeSelector", "kubernetes.io/hostname"), node),
            ((*POD, "terminationGracePeriodSeconds"), int(budget.end_s)),
            ((*POD, "volumes", "[shm]", "emptyDir", "sizeLimit"), res.shm),
            ((*ENGINE, "image"), image),
            ((*ENGINE, "imagePullPolicy"), "IfNotPresent"),
            ((*ENGINE, "env", "[CUDA_VISIBLE_DEVICES]", "value"), ",".join(map(str, range(res.gpus)))),
            ((*ENGINE, "ports", "[http]", "containerPort"), port),
            ((*ENGINE, "resources", "limits"), _resources(res.cpu_limit, res.memory_limit, gpus)),
            ((*ENGINE, "resources", "requests"), _resources(res.cpu_request, res.memory_request, gpus)),
            ((*ENGINE, "startupProbe", "periodSeconds"), PROBE_PERIOD_S),
            ((*ENGINE, "startupProbe", "failureThreshold"), budget.failure_threshold),
        ]
        if site.workload.variant is Variant.PRIVILEGED:
            values.append(((*ENGINE, "env", "[LEVIATHAN_DEVICE]", "value"), site.nvme.partition))
            values.append(((*ENGINE, "env", "[LEVIATHAN_MOUNT_POINT]", "value"), site.nvme.mount_point))
        else:
            values.append(((*ENGINE, "volumeMounts", "[models]", "mountPath"), site.nvme.mount_point))
        return values
    raise RenderError(f"no values are known for the kind {kind}", where="manifests", remedy="add it to render.py")


def _resources(cpu: str, memory: str, gpus: str) -> dict[str, str]:
    return {"cpu": cpu, "memory": memory, "nvidia.com/gpu": gpus}


def _set_flags(deployment: Object, site: Site) -> None:
    """Set the engine's flags in `args`; each `--name=value` that the site always sets must be in the template."""
    args = get_field(deployment, (*ENGINE, "args"))
    engine = site.engine
    flags = {
        "--model_path": engine.model_path,
        "--model_name": engine.model_name,
        "--host": engine.host,
        "--port": str(engine.port),
        "--cpu_offload_max_threads": str(engine.cpu_threads),
        "--gpu_split": ",".join(map(str, engine.gpu_split)),
    }
    for name, value in flags.items():
        places = [place for place, text in enumerate(args) if text.split("=", 1)[0] == name]
        if len(places) != 1:
            raise _no_field(deployment, (*ENGINE, "args", name))
        args[places[0]] = f"{name}={value}"
    # What the site leaves to the engine is not in the template.
    asked = {"--cache_lens": engine.cache_lens, "--max_new_tokens": engine.max_new_tokens}
    args += [f"{name}={value}" for name, value in asked.items() if value]
    if engine.queue:
        get_field(deployment, (*ENGINE, "env")).append({"name": "LEVIATHAN_QUEUE", "value": str(engine.queue)})


def get_field(each: Any, path: Sequence[str]) -> Any:
    """The value at `path`: keys, list places ("0"), and "[name]" for the entry of a list that has this name.

    Errors: RenderError when there is none.
    """
    found: Any = each
    for step in path:
        if isinstance(found, dict):
            found = found.get(step, _NOTHING)
        elif isinstance(found, list) and step.startswith("["):
            found = next((entry for entry in found if entry.get("name") == step[1:-1]), _NOTHING)
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            found = _NOTHING
        if found is _NOTHING:
            raise _no_field(each, path)
    return found


def set_field(each: Object, path: Sequence[str], value: Any) -> None:
    """Replace the value at `path`, which must be there. Errors: RenderError when it is not."""
    get_field(each, path)
    get_field(each, path[:-1])[path[-1]] = value


def _no_field(each: Object, path: Sequence[str]) -> RenderError:
    name = f"{each['kind']} {each['metadata'].get('name', '')}"
    return RenderError(
        "the manifest lacks a field that is to be set", where=f"{name}, {'.'.join(path)}", remedy="add it in manifests/"
    )


_NOTHING = object()
