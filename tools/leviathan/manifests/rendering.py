"""Fills the site's values into the manifests: loads the YAML, sets fields, holds the result to the policy.

Fields are set only where the template has them, so that template and code cannot drift apart unseen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan.errors import RenderError
from leviathan.manifests.chat_template import config_map, set_chat_template
from leviathan.manifests.extra import extra
from leviathan.manifests.fields import ENGINE, POD, get_field, no_field, set_field
from leviathan.manifests.files import Object, dump, manifest_folder, read_template
from leviathan.manifests.fit import INSTANCE, fit_pod, fit_service, fit_storage, local_volume
from leviathan.manifests.networking import networking
from leviathan.manifests.policy import check, exceptions
from leviathan.manifests.watch import scrape_annotations, watch
from leviathan.registry.layout import load_image
from leviathan.site.choices import Variant
from leviathan.site.cluster_sections import Resources
from leviathan.site.schema import Site
from leviathan.site.start_budget import PROBE_PERIOD_S, StartBudget, start_budget


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
    objects = fit_storage(read_template(manifest_folder(environ), site.workload.variant), site)
    if not site.cluster.make_namespace:
        objects = [each for each in objects if each["kind"] != "Namespace"]
    for each in objects:
        for path, value in _values(each["kind"], site, image, budget):
            set_field(each, path, value)
        if each["kind"] == "Deployment":
            _set_flags(each, site)
            fit_pod(each, site)
            set_chat_template(each, site)
            if site.watch.scrape_annotations:
                each["spec"]["template"]["metadata"]["annotations"] |= scrape_annotations(site)
        elif each["kind"] == "Service":
            fit_service(each, site)
        if site.release and each["kind"] != "Namespace":
            each["metadata"]["labels"][INSTANCE] = site.release
    more = [*config_map(site), *networking(site), *watch(site)]
    objects += more
    own = extra(site, objects)
    objects += own
    if kinds := ",".join(sorted({each["kind"] for each in (*more, *own)})):
        deployment = next(each for each in objects if each["kind"] == "Deployment")
        deployment["metadata"].setdefault("annotations", {})["leviathan/more-kinds"] = kinds
    findings = check(objects, budget, exceptions(site))
    if findings:
        raise RenderError(
            "the manifests break the policy"
            if len(findings) == 1
            else f"the manifests break the policy {len(findings)} times",
            why=" | ".join(finding.text() for finding in findings),
            remedy="correct manifests/ or manifests.extra, or allow it with a reason in the site: policy.exceptions",
        )
    return Rendered(tuple(objects), image, budget)


def _values(kind: str, site: Site, image: str, budget: StartBudget) -> list[tuple[tuple[str, ...], Any]]:
    """What is set in an object of `kind`: path → value."""
    namespace, app = site.cluster.namespace, site.workload.app
    namespaced = (("metadata", "namespace"), namespace)
    size, port = f"{site.storage.size_gb:.0f}G", site.engine.port
    if kind == "Namespace":
        return [(("metadata", "name"), namespace)]
    if kind == "PersistentVolume":
        term = ("spec", "nodeAffinity", "required", "nodeSelectorTerms", "0", "matchExpressions")
        labels = [{"key": key, "operator": "In", "values": [value]} for key, value in site.node_selector.items()]
        return [
            (("metadata", "name"), site.volume),
            (("spec", "capacity", "storage"), size),
            (("spec", "claimRef", "name"), site.volume),
            (("spec", "claimRef", "namespace"), namespace),
            *local_volume(site),
            (term, labels),
        ]
    if kind == "PersistentVolumeClaim":
        return [namespaced, (("metadata", "name"), site.volume), (("spec", "resources", "requests", "storage"), size)]
    if kind == "Service":
        return [
            namespaced,
            (("metadata", "name"), site.workload.service),
            (("metadata", "labels", "app"), app),
            (("spec", "selector", "app"), app),
            (("spec", "type"), site.service.type.value),
            (("spec", "ports", "[http]", "port"), port),
        ]
    if kind == "Deployment":
        res = site.resources
        values: list[tuple[tuple[str, ...], Any]] = [
            namespaced,
            (("metadata", "name"), site.workload.deployment),
            (("metadata", "labels", "app"), app),
            (("spec", "selector", "matchLabels", "app"), app),
            (("spec", "template", "metadata", "labels", "app"), app),
            (("spec", "progressDeadlineSeconds"), budget.progress_deadline_s),
            ((*POD, "runtimeClassName"), site.cluster.runtime_class),
            ((*POD, "nodeSelector"), site.node_selector),
            ((*POD, "terminationGracePeriodSeconds"), int(budget.end_s)),
            ((*POD, "volumes", "[shm]", "emptyDir", "sizeLimit"), res.shm),
            ((*ENGINE, "image"), image),
            ((*ENGINE, "imagePullPolicy"), "IfNotPresent"),
            ((*ENGINE, "env", "[CUDA_VISIBLE_DEVICES]", "value"), ",".join(map(str, range(res.gpus)))),
            ((*ENGINE, "ports", "[http]", "containerPort"), port),
            ((*ENGINE, "resources", "limits"), _resources(res.cpu_limit, res.memory_limit, res)),
            ((*ENGINE, "resources", "requests"), _resources(res.cpu_request, res.memory_request, res)),
            ((*ENGINE, "startupProbe", "periodSeconds"), PROBE_PERIOD_S),
            ((*ENGINE, "startupProbe", "failureThreshold"), budget.failure_threshold),
        ]
        if site.workload.variant is Variant.PRIVILEGED:
            values.append(((*ENGINE, "env", "[LEVIATHAN_DEVICE]", "value"), site.storage.partition))
            values.append(((*ENGINE, "env", "[LEVIATHAN_MOUNT_POINT]", "value"), site.storage.mount_point))
        else:
            values.append(((*ENGINE, "volumeMounts", "[models]", "mountPath"), site.storage.mount_point))
            values.append(((*POD, "volumes", "[models]", "persistentVolumeClaim", "claimName"), site.claim))
        return values
    raise RenderError(f"no values are known for the kind {kind}", where="manifests", remedy="add it to render.py")


def _resources(cpu: str, memory: str, resources: Resources) -> dict[str, str]:
    return {"cpu": cpu, "memory": memory, resources.gpu_resource: str(resources.gpus)}


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
            raise no_field(deployment, (*ENGINE, "args", name))
        args[places[0]] = f"{name}={value}"
    # What the site leaves to the engine is not in the template.
    asked = {"--cache_lens": engine.cache_lens, "--max_new_tokens": engine.max_new_tokens}
    args += [f"{name}={value}" for name, value in asked.items() if value]
    if engine.queue:
        get_field(deployment, (*ENGINE, "env")).append({"name": "LEVIATHAN_QUEUE", "value": str(engine.queue)})
