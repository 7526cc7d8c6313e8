"""Sites of other kinds than the runbook's: the examples, the schema, and the keys of earlier releases."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from leviathan.commands.site import current_schema
from leviathan.errors import LeviathanError
from leviathan.manifests.rendering import render
from leviathan.site import json_schema
from leviathan.site.load import DEFAULTS, RENAMED, load
from leviathan.site.schema import Site

DIGEST = f"sha256:{'1' * 64}"
#: The volume types that Pod Security's `restricted` allows.
RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
OF_ALL = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def rendered(site: Site) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in render(site, {}).objects}


def site(*settings: str, path: Path | None = None) -> Site:
    return load(path, settings=[f"image.digest={DIGEST}", *settings]).site


@OF_ALL
def test_an_example_renders_and_keeps_the_policy(path: Path, golden: Callable[[str, str], None]) -> None:
    done = render(site(path=path), {})
    golden(f"example-{path.stem}.yaml", done.text())
    for each in done.objects:
        if "monitoring.coreos.com" in each["apiVersion"]:
            continue  # a definition of the Prometheus operator: Kubernetes itself has no schema for it
        kubernetes_validate.validate(each, "1.34", strict=True)


def test_the_runbooks_example_is_the_default() -> None:
    path = next(path for path in EXAMPLES if path.stem == "runbook")
    assert load(path).site == load().site


@OF_ALL
def test_an_example_follows_the_schema(path: Path) -> None:
    assert wrong(tomllib.loads(path.read_text())) == []


def test_the_schema_that_is_checked_in_is_that_of_the_code() -> None:
    now = json_schema.text(current_schema())
    assert json_schema.FILE.read_text() == now, (
        "python -m leviathan site --schema --json has changed: write it to the file"
    )


def test_the_defaults_name_the_schema_and_follow_it() -> None:
    text = DEFAULTS.read_text()
    assert text.startswith("#:schema ")
    assert "leviathan site --schema" in text
    assert wrong(tomllib.loads(text)) == []


@pytest.mark.parametrize(
    ("file", "where"),
    [
        ({"cluster": {"nod": "x"}}, "cluster.nod"),
        ({"engine": {"port": 0}}, "engine.port"),
        ({"engine": {"node_port": 80}}, "engine.node_port"),
        ({"storage": {"kind": "nfs"}}, "storage.kind"),
        ({"storage": {"partition": "/srv/models"}}, "storage.partition"),
        ({"registry": {"plain_http": "yes"}}, "registry.plain_http"),
        ({"cluster": {"node_labels": ["none"]}}, "cluster.node_labels"),
        ({"nonsense": {}}, "nonsense"),
    ],
)
def test_the_schema_refuses_what_the_tool_refuses(file: dict[str, Any], where: str) -> None:
    assert wrong(file) == [where]


def test_old_keys_work_everywhere_and_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('[nvme]\npartition = "/dev/sda1"\nfilesystem = "ext4"\nsize_gb = 2000\nmount_point = "/"\n')
    loaded = load(path)
    assert loaded.site.storage.partition == "/dev/sda1"
    assert loaded.site.storage.size_gb == 2000
    assert f"nvme.partition ({path}) is now called storage.partition; the old name still works" in loaded.notes
    assert len(loaded.notes) == len(RENAMED) == 4
    by_environment = load(environ={"LEVIATHAN_NVME_PARTITION": "/dev/sdb1"})
    assert by_environment.site.storage.partition == "/dev/sdb1"
    assert by_environment.notes == (
        "$LEVIATHAN_NVME_PARTITION is now called $LEVIATHAN_STORAGE_PARTITION; the old name still works",
    )
    assert load(settings=["nvme.partition=/dev/sdc1"]).site.storage.partition == "/dev/sdc1"
    assert wrong(tomllib.loads(path.read_text())) == []


def test_two_releases_share_no_object() -> None:
    one, two = (render(site(*more), {}).objects for more in ((), TWO))
    names = [{(each["kind"], each["metadata"]["name"]) for each in objects} for objects in (one, two)]
    assert names[0] & names[1] == {("Namespace", "ai-workloads")}
    assert {each["metadata"]["labels"].get("app.kubernetes.io/instance") for each in two} == {None, "second"}


TWO = (
    "workload.deployment=second",
    "workload.service=second",
    "workload.app=second",
    "engine.node_port=0",
    "workload.variant=unprivileged",
)


def test_the_pod_of_a_claim_needs_no_privilege() -> None:
    objects = rendered(
        site("storage.kind=existing_claim", "storage.claim=mine", "cluster.node=", "service.type=ClusterIP")
    )
    assert set(objects) == {"Namespace", "Deployment", "Service"}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod
    assert pod["volumes"][1]["persistentVolumeClaim"] == {"claimName": "mine", "readOnly": True}
    assert objects["Service"]["spec"]["type"] == "ClusterIP"
    assert "nodePort" not in objects["Service"]["spec"]["ports"][0]


@pytest.mark.parametrize(
    "settings",
    [
        ["storage.kind=pvc"],
        ["storage.kind=existing_claim", "storage.claim=mine"],
        ["storage.kind=host_path", "storage.path=/srv/models"],
        ["workload.variant=unprivileged"],
    ],
    ids=lambda settings: settings[0],
)
def test_what_the_kubelet_mounts_needs_no_privilege(settings: list[str]) -> None:
    """By default, for every kind of storage that the kubelet mounts, and for a partition on request.

    The fields are those of the `restricted` Pod Security Standard.
    """
    objects = rendered(site(*settings))
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        security = container["securityContext"]
        assert not security.get("privileged")
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= RESTRICTED_VOLUMES
    assert not any("pod-security" in label for label in objects["Namespace"]["metadata"]["labels"])


def test_the_pod_that_mounts_the_partition_is_the_one_with_privileges() -> None:
    """The control, and the default of the runbook's site."""
    pod = rendered(site())["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["securityContext"]["privileged"] is True


def test_a_class_makes_the_volume_of_a_claim() -> None:
    claim = rendered(site("storage.kind=pvc", "storage.storage_class=fast"))["PersistentVolumeClaim"]["spec"]
    assert claim["storageClassName"] == "fast"
    assert "volumeName" not in claim
    assert "storageClassName" not in rendered(site("storage.kind=pvc"))["PersistentVolumeClaim"]["spec"]


def test_conversations_may_be_kept_in_the_pod_or_in_a_claim() -> None:
    """A writable volume, the flags that name it, and nothing of it by default; the policy holds for each."""

    def kept(*changes: str) -> tuple[Any, list[str], dict[str, Any]]:
        spec = rendered(site(*changes))["Deployment"]["spec"]["template"]["spec"]
        volumes = {volume.pop("name"): volume for volume in spec["volumes"]}
        engine = spec["containers"][0]
        mounts = {mount["name"]: mount for mount in engine["volumeMounts"]}
        assert ("kept" in volumes) == ("kept" in mounts)
        if "kept" in mounts:
            assert mounts["kept"] == {"name": "kept", "mountPath": "/kept"}
        flags = [text for text in engine["args"] if text.startswith("--kv_")]
        return volumes.get("kept"), flags, spec.get("securityContext", {})

    flags = ["--kv_dir=/kept", "--kv_disk=20000"]
    claim = ("engine.kept=claim", "engine.kept_claim=talks", "engine.kept_gb=20")
    assert kept()[:2] == (None, [])
    assert kept("engine.kept=pod", "engine.kept_gb=20")[:2] == ({"emptyDir": {"sizeLimit": "22G"}}, flags)
    volume, said, security = kept(*claim)
    assert (volume, said) == ({"persistentVolumeClaim": {"claimName": "talks"}}, flags)
    assert "fsGroup" not in security  # the privileged launcher hands the folder to the engine's user itself
    assert kept(*claim, "workload.variant=unprivileged")[2]["fsGroup"] == 65532
    with pytest.raises(LeviathanError, match=r"engine.kept_claim: expected a separate claim"):
        site("engine.kept=claim")


def test_a_folder_of_the_node_is_a_local_volume() -> None:
    volume = rendered(site("storage.kind=host_path", "storage.path=/srv/models"))["PersistentVolume"]["spec"]
    assert volume["local"] == {"path": "/srv/models"}
    assert "mountOptions" not in volume


def wrong(file: dict[str, Any]) -> list[str]:
    """Where a site file breaks the schema: the few words of JSON Schema that ours uses."""
    found = []
    sections = current_schema()["properties"]
    for section, keys in file.items():
        if section not in sections:
            found.append(section)
            continue
        known = sections[section]["properties"]
        found += [f"{section}.{key}" for key, value in keys.items() if key not in known or not fits(value, known[key])]
    return found


def fits(value: Any, rule: dict[str, Any]) -> bool:
    kinds: dict[str, Any] = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list}
    if "enum" in rule:
        return value in rule["enum"]
    if "type" in rule and (
        not isinstance(value, kinds[rule["type"]]) or isinstance(value, bool) != (rule["type"] == "boolean")
    ):
        return False
    if "anyOf" in rule and not any(fits(value, each) for each in rule["anyOf"]):
        return False
    if "const" in rule and value != rule["const"]:
        return False
    if "items" in rule and not all(fits(item, rule["items"]) for item in value):
        return False
    inside = (
        rule.get("minimum", value) <= value <= rule.get("maximum", value) if not isinstance(value, str | list) else True
    )
    return inside and ("pattern" not in rule or re.search(rule["pattern"], value) is not None)


def test_the_schema_is_json() -> None:
    assert json.loads(json_schema.FILE.read_text())["title"] == "leviathan site"
