"""render: goldens, schemas of every Kubernetes version that kubernetes-validate has, and what the runbook fixes."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from kubernetes_validate import ValidationError
from manifests_support import VARIANTS, only, other, site

from leviathan.errors import LayoutError
from leviathan.manifests.files import manifest_folder, read_template
from leviathan.manifests.rendering import render
from leviathan.site.choices import Variant
from leviathan.site.load import load
from leviathan.site.start_budget import start_budget

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
VERSIONS = sorted(
    {name.name.removeprefix("v").split("-")[0] for name in SCHEMAS.iterdir()},
    key=lambda v: [int(n) for n in v.split(".")],
)


@VARIANTS
def test_golden(variant: Variant, golden: Callable[[str, str], None]) -> None:
    golden(f"render-{variant.value}.yaml", render(site(variant), {}).text())


@VARIANTS
def test_golden_of_another_site(variant: Variant, golden: Callable[[str, str], None]) -> None:
    """Every value that can differ does: none of the runbook's may be left over."""
    text = render(other(variant), {}).text()
    golden(f"render-{variant.value}-other.yaml", text)
    for word in (
        "192.168.3.10",
        "omni",
        "ai-workloads",
        "talos-u8k-rze",
        "30000",
        "cortex",
        "671b",
        "nvme0n1p1",
        "/models/",
    ):
        assert word not in text, word


def test_rendering_is_deterministic() -> None:
    assert render(site(), {}).text() == render(site(), {}).text()


@VARIANTS
def test_text_reads_back_as_the_objects(variant: Variant) -> None:
    done = render(other(variant), {})
    assert list(yaml.safe_load_all(done.text())) == list(done.objects)


@pytest.mark.parametrize("version", VERSIONS)
@VARIANTS
def test_schema(variant: Variant, version: str) -> None:
    for chosen in (site(variant), other(variant)):
        for each in render(chosen, {}).objects:
            kubernetes_validate.validate(each, version, strict=True)


def test_versions_are_those_of_the_package() -> None:
    assert {"1.32.0", "1.33.0", "1.34.0"} <= set(VERSIONS)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "progresDeadlineSeconds"), 1),
        ("Deployment", ("spec", "replicas"), "one"),
        ("Deployment", ("spec", "template", "spec", "containers"), {}),
        ("Service", ("spec", "ports"), [{"port": "http"}]),
        ("Namespace", ("metadata", "labels"), {"a": 1}),
    ],
)
def test_schema_finds_what_is_wrong(kind: str, path: tuple[str, ...], value: object) -> None:
    """The positive control of test_schema."""
    broken = copy.deepcopy(only(render(site(), {}), kind))
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        kubernetes_validate.validate(broken, "1.34", strict=True)


@VARIANTS
def test_template_as_it_stands(variant: Variant) -> None:
    """`kubectl apply -f manifests/...` works too: with the runbook's values render changes only the image's name."""
    template = read_template(manifest_folder({}), variant)
    done = render(site(variant), {})
    for raw, filled in zip(template, done.objects, strict=True):
        if raw["kind"] == "Deployment":
            container = raw["spec"]["template"]["spec"]["containers"][0]
            assert container["image"] == "192.168.3.10:5000/omni/engine:leviathan-standard"
            assert container["imagePullPolicy"] == "Always"
            container |= {"image": done.image, "imagePullPolicy": "IfNotPresent"}
        assert raw == filled


def test_runbook_values() -> None:
    """Phase 4 of the runbook and its definition of done."""
    done = render(site(), {})
    deployment, service = only(done, "Deployment"), only(done, "Service")
    pod = deployment["spec"]["template"]["spec"]
    engine = pod["containers"][0]
    assert deployment["metadata"]["name"] == "cortex-leviathan"
    assert deployment["metadata"]["namespace"] == "ai-workloads"
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": "leviathan-671b"}}
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "talos-u8k-rze"}
    assert pod["tolerations"] == [
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    ]
    assert engine["resources"] == {
        "limits": {"nvidia.com/gpu": "2", "memory": "360Gi", "cpu": "96"},
        "requests": {"nvidia.com/gpu": "2", "memory": "256Gi", "cpu": "48"},
    }
    assert engine["securityContext"]["privileged"] is True
    assert {entry["name"]: entry["value"] for entry in engine["env"]} == {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "ENABLE_DEEPGEMM": "false",
        "LEVIATHAN_DEVICE": "/dev/nvme0n1p1",
        "LEVIATHAN_MOUNT_POINT": "/models",
    }
    assert engine["args"] == [
        "--model_path=/models/models/deepseek-v3-gguf",
        "--model_name=deepseek-v3",
        "--host=0.0.0.0",
        "--port=30000",
        "--cpu_offload_max_threads=96",
        "--gpu_split=90000,30000",
    ]
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}} in pod["volumes"]
    assert service["metadata"]["name"] == "leviathan-inference"
    assert service["spec"]["type"] == "NodePort"
    assert service["spec"]["ports"][0] | {"targetPort": 30000} == {
        "name": "http",
        "port": 30000,
        "targetPort": 30000,
        "nodePort": 30000,
        "protocol": "TCP",
    }


def differences(left: Any, right: Any, path: str = "") -> set[str]:
    """The paths at which two objects differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        return {
            found
            for key in left.keys() | right.keys()
            for found in differences(left.get(key), right.get(key), f"{path}.{key}")
        }
    if (
        isinstance(left, list)
        and isinstance(right, list)
        and all(isinstance(e, dict) and "name" in e for e in left + right)
    ):
        mine, theirs = ({entry["name"]: entry for entry in entries} for entries in (left, right))
        return {
            found
            for name in mine.keys() | theirs.keys()
            for found in differences(mine.get(name), theirs.get(name), f"{path}[{name}]")
        }
    return set() if left == right else {path}


def test_variants_differ_only_where_they_must() -> None:
    one, two = render(site(), {}), render(site(Variant.UNPRIVILEGED), {})
    assert only(one, "Service") == only(two, "Service")
    pod, engine = ".spec.template.spec", ".spec.template.spec.containers[engine]"
    assert differences(only(one, "Deployment"), only(two, "Deployment")) == {
        f"{pod}.securityContext",
        f"{pod}.volumes[models]",
        f"{pod}.volumes[disk-names]",
        f"{engine}.volumeMounts[models]",
        f"{engine}.volumeMounts[disk-names]",
        f"{engine}.env[LEVIATHAN_DEVICE]",
        f"{engine}.env[LEVIATHAN_MOUNT_POINT]",
        f"{engine}.env[HOME]",
        f"{engine}.securityContext.privileged",
        f"{engine}.securityContext.allowPrivilegeEscalation",
        f"{engine}.securityContext.capabilities",
    }


def test_start_budget() -> None:
    """385 GB at 1,000 MB/s and 120 s, times 3, in probes of 10 s; 3.6 GB at 100 MB/s, times 3; 60 s for the old pod."""
    budget = start_budget(site())
    assert (budget.load_s, budget.setup_s, round(budget.pull_s, 6), budget.end_s) == (1155, 360, 108, 60)
    assert budget.startup_s == 1520
    assert budget.progress_deadline_s == 1688
    slower = start_budget(site(start__disk_mb_per_s="100"))
    assert slower.startup_s == 11910
    engine = only(render(site(start__disk_mb_per_s="100"), {}), "Deployment")["spec"]["template"]["spec"]["containers"][
        0
    ]
    assert engine["startupProbe"]["periodSeconds"] * engine["startupProbe"]["failureThreshold"] == 11910


def test_digest_of_the_layout(tmp_path: Path) -> None:
    from push_support import make_layout  # noqa: PLC0415

    layout = make_layout(tmp_path, (100,))
    done = render(load(named={"image.layout": str(layout.path)}).site, {})
    assert done.image == f"192.168.3.10:5000/omni/engine@{layout.digest}"
    with pytest.raises(LayoutError, match=r"no OCI image layout .*nix build"):
        render(load(named={"image.layout": str(tmp_path / "none")}).site, {})
