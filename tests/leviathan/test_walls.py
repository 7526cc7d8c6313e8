"""What stood in the way of the second user: each wall has its own way, or a message that names it."""

import pytest
from walls_support import conflict, message, pod, site

from leviathan.cluster.client import Cluster
from leviathan.manifests.policy import check, exceptions
from leviathan.manifests.rendering import render
from leviathan.site.load import load
from leviathan.site.start_budget import start_budget
from leviathan.terminal.output import Console


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


def test_wall_4_the_privileged_pod_is_told_the_file_system() -> None:
    environment = {each["name"]: each["value"] for each in pod("storage.filesystem=ext4")["containers"][0]["env"]}
    assert environment["LEVIATHAN_FILESYSTEM"] == "ext4"
    names = [each["name"] for each in pod()["containers"][0]["env"]]
    assert "LEVIATHAN_FILESYSTEM" not in names


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
