"""What stood in the way of the second user: each wall has its own way, or a message that names it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi

from leviathan.cluster import secrets
from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.prune import labelled
from leviathan.errors import UsageError
from leviathan.manifests.policy import check, exceptions
from leviathan.manifests.rendering import render
from leviathan.preflight import api as api_checks
from leviathan.preflight import namespace, node_checks
from leviathan.preflight.check_result import Level
from leviathan.preflight.facts import Facts
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.site.start_budget import start_budget
from leviathan.terminal.output import Console

DIGEST = f"sha256:{'1' * 64}"


def site(*settings: str) -> Site:
    return load(settings=[f"image.digest={DIGEST}", *settings]).site


def pod(*settings: str) -> dict[str, Any]:
    deployment = next(each for each in render(site(*settings), {}).objects if each["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def message(setting: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(settings=[setting])
    return str(caught.value)


@pytest.mark.parametrize(
    ("wall", "setting", "words"),
    [
        (1, "storage.partition=/srv/models", 'set storage.kind = "host_path" and storage.path = "/srv/models"'),
        (1, "storage.partition=/dev/vg0/models", "for a logical volume, set /dev/mapper/vg0-models"),
        (1, "storage.partition=/dev/nvme0n1", "/dev/nvme0n1 is a whole disk; set one of its partitions (lsblk"),
        (2, "storage.kind=host_path", "storage.path: expected the folder on the node that has the model"),
        (3, "storage.kind=existing_claim", "storage.claim: expected the name of the claim that holds the model"),
        (5, "image.make_pull_secret=true", "needs the name of the Secret in image.pull_secret"),
        (7, "engine.node_port=0x", "expected an integer from 30000 to 32767, or 0"),
        (7, "engine.node_port=443", 'for other ports, set service.type = "LoadBalancer" and engine.port'),
        (10, "cluster.node_labels=gpu", "cluster.node_labels (--set): expected a list of strings such as"),
        (11, "resources.gpus=0", "the engine needs at least one GPU; for a shared GPU or a MIG slice, set"),
        (20, "registry.host=ghcr.io/acme", 'registry.host = "ghcr.io", image.repository = "acme/..."'),
        (20, "registry.host=https://ghcr.io", "remove the scheme; registry.plain_http chooses"),
        (20, "image.repository=Acme/Engine", "a repository name must be lowercase: acme/engine"),
        (20, "image.repository=acme/engine:v1", "the tag belongs in image.tag"),
        (22, "cluster.address=https://engine.example", "a URL belongs in service.url"),
    ],
)  # fmt: skip
def test_a_message_names_the_key_and_the_way_out(wall: int, setting: str, words: str) -> None:
    assert words in message(setting)


@pytest.mark.parametrize("device", ["/dev/mapper/vg0-models", "/dev/md0", "/dev/md/models", "/dev/dm-1"])
def test_wall_1_stacked_devices_go_by_name(device: str) -> None:
    assert load(settings=[f"storage.partition={device}"]).site.storage.partition == device


def test_wall_2_and_3_a_folder_and_claims_are_kinds_of_storage() -> None:
    for settings in (
        ("storage.kind=host_path", "storage.path=/srv/models"),
        ("storage.kind=pvc",),
        ("storage.kind=existing_claim", "storage.claim=mine"),
    ):
        assert not pod(*settings)["containers"][0]["securityContext"].get("privileged")
    assert "remove the key, or set it to unprivileged" in conflict("storage.kind=pvc", "workload.variant=privileged")


def conflict(*settings: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(settings=settings)
    return str(caught.value)


def test_wall_4_the_privileged_pod_is_told_the_file_system() -> None:
    environment = {each["name"]: each["value"] for each in pod("storage.filesystem=ext4")["containers"][0]["env"]}
    assert environment["LEVIATHAN_FILESYSTEM"] == "ext4"
    names = [each["name"] for each in pod()["containers"][0]["env"]]
    assert "LEVIATHAN_FILESYSTEM" not in names


def test_wall_5_the_pull_secret_is_named_and_made(api: ReplayApi, cluster: Cluster, tmp_path: Path) -> None:
    wanted = site("image.pull_secret=login", "image.make_pull_secret=true", "registry.host=ghcr.io")
    assert pod("image.pull_secret=login")["imagePullSecrets"] == [{"name": "login"}]
    path = secrets.path(wanted, "login")
    api.add("GET", path, Answer(404, {"kind": "Status", "code": 404, "message": "not found"}))
    api.add("POST", path.rpartition("/")[0], Answer(201, {"kind": "Secret"}))
    config = {"auths": {"ghcr.io": {"username": "me", "password": "pa:ss"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = secrets.ensure(wanted, cluster, {"DOCKER_CONFIG": str(tmp_path)}, Console())
    assert made == ["Secret/login"]
    sent = api.asked[-1].body
    assert sent["type"] == "kubernetes.io/dockerconfigjson"
    assert sent["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "leviathan"}
    with pytest.raises(ClusterError, match=r"no registry login to create Secret/login from.*docker login ghcr\.io"):
        secrets.ensure(wanted, cluster, {"DOCKER_CONFIG": str(tmp_path / "none")}, Console())


def test_wall_5_a_secret_that_is_there_is_left_alone(api: ReplayApi, cluster: Cluster) -> None:
    wanted = site("image.pull_secret=login", "image.make_pull_secret=true")
    api.add("GET", secrets.path(wanted, "login"), Answer(200, {"kind": "Secret", "metadata": {"name": "login"}}))
    assert secrets.ensure(wanted, cluster, {}, Console()) == []
    assert [each.method for each in api.asked] == ["GET"]


def test_wall_6_a_key_of_another_section_is_found() -> None:
    assert "no such key, nearest: image.pull_secret" in message("engine.pull_secret=x")


def test_wall_6_the_api_key_is_a_key_of_the_site() -> None:
    assert "no such key, nearest: access.api_key" in message("engine.api_key=x")
    spec = pod("access.api_key=secret")
    assert {"name": "api-key", "secret": {"secretName": "cortex-leviathan-api-key"}} in spec["volumes"]
    assert {"name": "LEVIATHAN_API_KEY_FILE", "value": "/etc/leviathan/api-key/api-key"} in spec["containers"][0]["env"]


def test_wall_7_a_service_without_a_node_port() -> None:
    for settings in (("service.type=ClusterIP",), ("engine.node_port=0",), ("service.type=LoadBalancer",)):
        service = next(each for each in render(site(*settings), {}).objects if each["kind"] == "Service")
        assert "nodePort" not in service["spec"]["ports"][0]
    assert site("service.type=ClusterIP").endpoint == ""
    assert site("service.type=LoadBalancer").endpoint == "http://192.168.3.2:30000"
    assert site("service.url=https://x.example/").endpoint == "https://x.example"


def test_wall_9_and_10_runtime_class_and_node_may_be_left_open() -> None:
    bare = pod("cluster.runtime_class=", "cluster.node=")
    assert "runtimeClassName" not in bare
    assert "nodeSelector" not in bare
    labelled_pod = pod("cluster.node=", "cluster.node_labels=nvidia.com/gpu.product=RTX,disk=fast")
    assert labelled_pod["nodeSelector"] == {"nvidia.com/gpu.product": "RTX", "disk": "fast"}
    assert "cluster.node: storage.kind = partition is on one node; set its name here" in conflict(
        "cluster.node=", "workload.variant=unprivileged"
    )


def test_wall_11_the_gpus_resource_has_a_name() -> None:
    resources = pod("resources.gpu_resource=nvidia.com/gpu.shared")["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu.shared"] == "2"
    assert "nvidia.com/gpu" not in resources["limits"]


def facts(cluster: Cluster, *settings: str) -> Facts:
    return Facts(site(*settings), {}, Console(), connect=lambda: cluster)


@pytest.fixture
def answered(api: ReplayApi) -> Callable[[str, Any], None]:
    """Makes the API answer a GET."""
    api.add("GET", "/version", Answer(200, {"gitVersion": "v1.34.0", "major": "1", "minor": "34"}))

    def add(path: str, body: Any) -> None:
        api.add("GET", path, Answer(200, body))

    return add


def listed(kind: str, *items: Any) -> dict[str, Any]:
    return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": list(items)}


def test_wall_10_of_several_nodes_the_one_with_most_gpus_is_checked(
    cluster: Cluster, answered: Callable[[str, Any], None]
) -> None:
    nodes = [
        {
            "metadata": {"name": name, "labels": {}},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"nvidia.com/gpu": gpus}},
        }
        for name, gpus in (("one", "1"), ("four", "4"))
    ]
    answered("/api/v1/nodes", listed("Node", *nodes))
    answered("/api/v1/nodes/four", nodes[1])
    asked = facts(cluster, "cluster.node=", "cluster.node_labels=disk=fast")
    assert asked.node_name() == "four"
    assert [each.level for each in node_checks.node(asked)] == [Level.OK]


def test_wall_10_no_node_with_the_labels(cluster: Cluster, answered: Callable[[str, Any], None]) -> None:
    answered("/api/v1/nodes", listed("Node"))
    (found,) = node_checks.node(facts(cluster, "cluster.node=", "cluster.node_labels=disk=fast"))
    assert found.text == "no node has the labels disk=fast"
    assert "correct cluster.node_labels" in found.fix


def test_wall_9_no_runtime_class_is_asked_for(cluster: Cluster) -> None:
    (found,) = api_checks.runtime_class(facts(cluster, "cluster.runtime_class="))
    assert found.level is Level.OK


def test_wall_13_a_namespace_of_others_is_warned_of(cluster: Cluster, answered: Callable[[str, Any], None]) -> None:
    answered("/api/v1/namespaces/default", {"metadata": {"name": "default", "labels": {}}, "status": {}})
    (found,) = namespace.namespace(facts(cluster, "cluster.namespace=default"))
    assert found.level is Level.WARNING
    assert "for all pods in it, and delete does not remove that label" in found.text
    assert "--set cluster.namespace=cortex-leviathan" in found.fix


def test_wall_13_the_namespace_need_not_be_ours(api: ReplayApi, cluster: Cluster, answered: Any) -> None:
    kinds = [each["kind"] for each in render(site("cluster.make_namespace=false"), {}).objects]
    assert kinds == ["Deployment", "Service"]
    api.add("GET", "/api/v1/namespaces/lab", Answer(404, {"kind": "Status", "code": 404}))
    (found,) = namespace.namespace(facts(cluster, "cluster.make_namespace=false", "cluster.namespace=lab"))
    assert found.fix == "kubectl create namespace lab"


def test_wall_14_without_a_download_nothing_is_waited_for() -> None:
    from leviathan.model.model_phase import run  # noqa: PLC0415

    def never() -> Cluster:
        raise AssertionError("the cluster is not asked")

    assert run(site("model.pod="), never, Console()).downloaded is None


def test_wall_15_an_init_container_needs_no_gpu_and_no_probes() -> None:
    chosen = site("storage.kind=pvc")
    done = render(chosen, {})
    deployment = next(each for each in done.objects if each["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    main = spec["containers"][0]
    amounts = {"cpu": "1", "memory": "1Gi"}
    spec["initContainers"] = [
        {
            "name": "fetch",
            "image": main["image"],
            "resources": {"limits": amounts, "requests": amounts},
            "securityContext": main["securityContext"],
        }
    ]
    assert check(done.objects, start_budget(chosen), exceptions(chosen)) == []


def test_wall_15_a_site_allows_what_the_policy_does_not_and_says_why() -> None:
    chosen = site("storage.kind=pvc")
    done = render(chosen, {})
    deployment = next(each for each in done.objects if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["volumes"].append(
        {"name": "fonts", "hostPath": {"path": "/usr/share/fonts"}}
    )
    budget = start_budget(chosen)
    assert [each.rule for each in check(done.objects, budget, exceptions(chosen))] == ["safe-volumes"]
    allowed = site("storage.kind=pvc", "policy.exceptions=safe-volumes: fonts of the node")
    assert check(done.objects, budget, exceptions(allowed)) == []
    (stale,) = check(render(chosen, {}).objects, budget, exceptions(allowed))
    assert stale.text() == "stale-exception: safe-volumes: nothing breaks it: fonts of the node"


def test_wall_16_a_release_prunes_only_its_own(api: ReplayApi, cluster: Cluster) -> None:
    def each(name: str, **labels: str) -> dict[str, Any]:
        return {
            "metadata": {
                "name": name,
                "namespace": "ai",
                "labels": {"app.kubernetes.io/managed-by": "leviathan"} | labels,
            }
        }

    first, second = each("first"), each("second", **{"app.kubernetes.io/instance": "second"})
    for kind, path in (
        ("Deployment", "/apis/apps/v1/namespaces/ai/deployments"),
        ("Service", "/api/v1/namespaces/ai/services"),
        ("PersistentVolumeClaim", "/api/v1/namespaces/ai/persistentvolumeclaims"),
        ("PersistentVolume", "/api/v1/persistentvolumes"),
    ):
        items = [first, second] if kind == "Deployment" else []
        api.add("GET", path, Answer(200, listed(kind, *items)))
    for release, name in (("", "first"), ("second", "second")):
        found = labelled(cluster, "ai", lambda _text: None, release)
        assert [each["metadata"]["name"] for each in found] == [name]


def test_wall_16_a_second_release_must_not_share_the_label(
    cluster: Cluster, answered: Callable[[str, Any], None]
) -> None:
    other = {
        "metadata": {"name": "cortex-leviathan"},
        "spec": {"template": {"metadata": {"labels": {"app": "leviathan-671b"}}}},
    }
    answered("/apis/apps/v1/namespaces/ai-workloads/deployments", listed("Deployment", other))
    found = list(namespace._rivals(facts(cluster, "workload.deployment=second")))
    assert found[0].fix == "leviathan preflight --set workload.app=second"
    assert "pods of Deployment/cortex-leviathan also have app=leviathan-671b" in found[0].text


def test_wall_26_the_defaults_say_whose_names_they_are() -> None:
    from leviathan.site.load import DEFAULTS  # noqa: PLC0415

    text = DEFAULTS.read_text()
    assert "omni/engine (the image) and cortex-leviathan (the Deployment) are the runbook's. Yours can differ." in text


def test_wall_17_and_18_the_plan_before_the_download_is_of_the_models_size() -> None:
    from leviathan.placement import Wishes, plan  # noqa: PLC0415

    second = site(
        "model.size_gb=251",
        "resources.gpus=1",
        "engine.gpu_split=22000",
        "resources.memory_limit=245Gi",
        "resources.memory_request=200Gi",
        "cluster.node_memory=256Gi",
    )
    made = plan(second, None, Wishes())
    assert made.assumed == "DeepSeek-V3 with experts in Q2_K and Q3_K, 247 GB, the nearest to 251 GB"
    assert not any("too small" in text for text in made.warnings)
    assert plan(site(), None, Wishes()).assumed == "DeepSeek-V3 Q4_K_M"
