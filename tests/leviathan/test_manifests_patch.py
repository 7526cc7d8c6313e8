"""Patches in manifests.extra: merged as kubectl merges them, held to the policy, or refused."""

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from leviathan.errors import RenderError
from leviathan.manifests.patch import merged
from leviathan.manifests.rendering import Rendered, render
from leviathan.site.load import load

DIGEST = f"sha256:{'1' * 64}"


def patch(
    spec: dict[str, Any], kind: str = "Deployment", name: str = "cortex-leviathan", **more: Any
) -> dict[str, Any]:
    api = "apps/v1" if kind == "Deployment" else "v1"
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **more}, "spec": spec}


def of_pod(**spec: Any) -> dict[str, Any]:
    return patch({"template": {"spec": spec}})


def rendered(tmp_path: Path, *documents: dict[str, Any], settings: tuple[str, ...] = ()) -> Rendered:
    folder = tmp_path / "extra"
    folder.mkdir(exist_ok=True)
    (folder / "patch.yaml").write_text(yaml.safe_dump_all(documents))
    base = [f"image.digest={DIGEST}", "storage.kind=pvc", f"manifests.extra={folder}"]
    return render(load(settings=[*base, *settings]).site, {})


def pod_of(done: Rendered) -> dict[str, Any]:
    deployment = next(each for each in done.objects if each["kind"] == "Deployment")
    kubernetes_validate.validate(deployment, "1.34", strict=True)
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def test_a_pod_gets_what_the_site_has_no_key_for(tmp_path: Path) -> None:
    """Of lists with a key each entry is merged by it; a toleration has none, and the list is the patch's."""
    toleration = {"key": "gpu", "operator": "Exists"}
    container = {
        "name": "engine",
        "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
        "resources": {"limits": {"cpu": "8"}},
    }
    plain = pod_of(rendered(tmp_path, patch({}, "Service", "leviathan-inference")))
    done = pod_of(
        rendered(tmp_path, of_pod(priorityClassName="high", tolerations=[toleration], containers=[container]),
                 settings=("resources.cpu_request=8",))
    )  # fmt: skip
    (engine,), (before,) = done["containers"], plain["containers"]
    assert done["priorityClassName"] == "high"
    assert done["tolerations"] == [toleration]
    assert engine["env"] == [*before["env"], {"name": "NCCL_DEBUG", "value": "INFO"}]
    assert engine["resources"]["limits"] == before["resources"]["limits"] | {"cpu": "8"}
    assert engine["args"] == before["args"]


def test_a_service_and_an_ingress_of_ours_are_patched_and_not_doubled(tmp_path: Path) -> None:
    ports = [{"port": 30000, "appProtocol": "http"}]
    annotated = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    annotated["metadata"] = {"name": "leviathan-inference", "annotations": {"a/b": "c"}}  # type: ignore[assignment]
    done = rendered(
        tmp_path, patch({"ports": ports}, "Service", "leviathan-inference"), annotated,
        settings=("access.ingress_host=x.example.org",),
    )  # fmt: skip
    kinds = [each["kind"] for each in done.objects]
    assert len(kinds) == len(set(kinds))
    service = next(each for each in done.objects if each["kind"] == "Service")
    (port,) = service["spec"]["ports"]
    assert (port["appProtocol"], port["targetPort"], port["nodePort"]) == ("http", "http", 30000)
    ingress = next(each for each in done.objects if each["kind"] == "Ingress")
    assert ingress["metadata"]["annotations"] == {"a/b": "c"}
    assert ingress["spec"]["rules"]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"a": None}, {"list": [1, 2], "containers": [{"name": "x", "y": 1}, {"name": "z"}]}),
        ({"containers": [{"name": "x", "$patch": "delete"}]}, {"containers": [{"name": "z"}]}),
        ({"containers": [{"$patch": "replace"}, {"name": "n"}]}, {"containers": [{"name": "n"}]}),
        ({"containers": [{"name": "x", "y": None}]}, {"containers": [{"name": "x"}, {"name": "z"}]}),
        ({"containers": [{"name": "gone", "$patch": "delete"}]}, {}),
        ({"a": {"$patch": "replace", "new": 1}}, {"a": {"new": 1}}),
        ({"a": {"b": {"c": None}, "d": {"e": None}}}, {"a": {"b": {}, "old": 1, "d": {}}}),
        ({"list": [3]}, {"list": [3]}),
    ],
)  # fmt: skip
def test_directives_and_nulls(change: dict[str, Any], left: dict[str, Any]) -> None:
    """What `kubectl patch --type=strategic` makes of the same."""
    spec = {"a": {"b": {"c": 1}, "old": 1}, "list": [1, 2], "containers": [{"name": "x", "y": 1}, {"name": "z"}]}
    wanted = {**spec, **left}
    if change.get("a", "") is None:
        del wanted["a"]
    assert merged(patch(spec), patch(change), "file")["spec"] == wanted


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        (of_pod(hostNetwork=True), "no-host-namespaces: Deployment/cortex-leviathan: hostNetwork: true"),
        (of_pod(containers=[{"env": []}]), "an entry of the list has no name (.*patch.yaml: Deployment/cortex-levi"),
        (of_pod(**{"$retainKeys": ["x"]}), "$retainKeys is not supported in a patch"),
        (of_pod(**{"$patch": "keep"}), "$patch: keep is not supported in a patch"),
        (of_pod(containers=[{"name": "engine", "image": "x@sha256:1"}]), "gives Deployment/cortex-leviathan another"),
        (of_pod(containers=None), "the manifest lacks a field that is to be set (Deployment cortex-levia"),
        (patch({"selector": None}, "Service", "leviathan-inference"), "complete: Deployment/cortex-leviathan or"),
        (patch({"template": None}, name="other"), "a field that the policy looks at is missing, or of another"),
        (patch({}, "Service", "leviathan-inference", namespace="x"), "leviathan-inference is in the namespace x"),
    ],
)  # fmt: skip
def test_a_patch_that_cannot_be_is_told(tmp_path: Path, documents: dict[str, Any], words: str) -> None:
    with pytest.raises(RenderError) as caught:
        rendered(tmp_path, documents)
    message = " ".join(str(caught.value).split())
    first, _, second = words.partition(".*")
    assert first in message
    assert second in message


def test_a_site_may_allow_with_a_reason_what_its_patch_breaks(tmp_path: Path) -> None:
    allowed = ("policy.exceptions=no-host-namespaces: RDMA needs the node's network",)
    assert pod_of(rendered(tmp_path, of_pod(hostNetwork=True), settings=allowed))["hostNetwork"]
