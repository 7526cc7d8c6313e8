"""init: what it sees of a k3s and a Talos node, what it asks, and that its file passes where it is read."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi

from leviathan.cli.main import run as leviathan
from leviathan.errors import UsageError
from leviathan.init.observe import GpuNode, Seen, gpu_node, logins
from leviathan.init.propose import propose
from leviathan.init.write import site_text
from leviathan.manifests.rendering import render
from leviathan.site.load import load

NODE: dict[str, Any] = {
    "metadata": {
        "name": "gpu-box",
        "labels": {
            "kubernetes.io/hostname": "gpu-box",
            "nvidia.com/gpu.memory": "24564",
            "nvidia.com/gpu.product": "NVIDIA-GeForce-RTX-4090",
        },
    },
    "status": {
        "addresses": [{"type": "InternalIP", "address": "192.168.1.50"}],
        "allocatable": {"cpu": "32", "memory": "263000000Ki", "nvidia.com/gpu": "1"},
        "nodeInfo": {"kubeletVersion": "v1.33.4+k3s1"},
    },
}
MODEL = [
    "--set=image.repository=acme/leviathan",
    "--set=model.repository=unsloth/DeepSeek-R1-0528-GGUF",
    "--set=model.include=UD-Q2_K_XL/*.gguf",
    "--set=model.size_gb=251",
]


def listed(kind: str, *items: Any) -> Answer:
    return Answer(200, {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": list(items)})


@pytest.fixture
def k3s(api: ReplayApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    classes = [{"metadata": {"name": "slow"}}, {"metadata": {"name": "local-path", "annotations": default}}]
    api.add("GET", "/api/v1/nodes", listed("Node", {"metadata": {"name": "bare"}, "status": {}}, NODE))
    api.add("GET", "/apis/node.k8s.io/v1/runtimeclasses", listed("RuntimeClass", {"metadata": {"name": "nvidia"}}))
    api.add("GET", "/apis/storage.k8s.io/v1/storageclasses", listed("StorageClass", *classes))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"https://ghcr.io/v2/": {}}}))
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path)))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "site.toml"


def test_a_k3s_node_gives_a_site_that_renders(k3s: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leviathan(["init", "--out", str(k3s), *MODEL]) == 0
    assert "gpu-box: 1 x NVIDIA-GeForce-RTX-4090, 32 CPUs, 251 GiB (v1.33.4+k3s1)" in capsys.readouterr().err
    site = load(k3s, settings=[f"image.digest=sha256:{'1' * 64}"]).site
    assert (site.cluster.node, site.cluster.address, site.cluster.runtime_class) == (
        "gpu-box",
        "192.168.1.50",
        "nvidia",
    )
    assert (site.registry.host, site.image.make_pull_secret) == ("ghcr.io", True)
    assert (site.storage.storage_class, site.storage.size_gb) == ("local-path", 301)
    assert site.engine.gpu_split == (23500,)
    assert (site.resources.gpus, site.resources.cpu_limit, site.resources.memory_limit) == (1, "31", "242Gi")
    assert site.engine.model_path == "/models/DeepSeek-R1-0528-GGUF-UD-Q2_K_XL"
    assert site.downloads
    assert {each["kind"] for each in render(site, {}).objects} == {
        *("Namespace", "PersistentVolumeClaim", "Deployment", "Service"),
    }
    text = k3s.read_text()
    assert "# the only registry with a login" in text
    assert text.startswith("#:schema ")


def test_what_is_not_known_is_named_where_nobody_can_be_asked(k3s: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leviathan(["init", "--out", str(k3s)]) == 2
    said = capsys.readouterr().err
    assert "missing: image.repository, model.repository, model.include, model.size_gb" in said
    assert "--set image.repository=acme-lab/leviathan" in said
    assert not k3s.exists()


def test_a_file_that_is_there_stays(k3s: Path, capsys: pytest.CaptureFixture[str]) -> None:
    k3s.write_text("mine")
    assert leviathan(["init", "--out", str(k3s), *MODEL]) == 2
    assert k3s.read_text() == "mine"
    assert "--force to replace" in capsys.readouterr().err
    assert leviathan(["init", "--out", str(k3s), "--force", *MODEL]) == 0
    assert "[cluster]" in k3s.read_text()


def seen(**more: Any) -> Seen:
    node = gpu_node(NODE)
    assert node is not None
    return Seen(**({"nodes": (node,), "runtimes": (), "classes": (), "logins": ()} | more))


GIVEN = dict(each.removeprefix("--set=").split("=", 1) for each in MODEL) | {"registry.host": "h"}


def test_a_folder_needs_no_class_and_a_cluster_without_a_class_says_so(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(site_text(propose(seen(), GIVEN | {"storage.path": "/srv/models"}, None)))
    site = load(path).site
    assert (site.storage.kind.value, site.storage.path, site.cluster.runtime_class) == ("host_path", "/srv/models", "")
    assert not site.image.pull_secret
    with pytest.raises(UsageError, match=r"no StorageClass; fix: --set storage\.path=/srv/models"):
        propose(seen(), GIVEN, None)


def test_questions_are_asked_once_and_only_for_what_is_missing(tmp_path: Path) -> None:
    asked: list[str] = []
    answers = {"registry for the image": "r.example", "repository for the image on it": "a/b"}

    def ask(question: str, _example: str, _default: str) -> str:
        asked.append(question)
        return answers[question]

    given = {key: value for key, value in GIVEN.items() if key.startswith("model.")}
    lines = propose(seen(classes=("fast",)), given, ask)
    assert asked == list(answers)
    assert {line.key: line.value for line in lines}["image.repository"] == "a/b"


def test_of_two_nodes_one_is_asked_for() -> None:
    one = gpu_node(NODE)
    assert one is not None
    two = GpuNode("big", "10.0.0.2", "nvidia.com/gpu", 2, 98000, "RTX-PRO-6000", 96, 384 << 30, "v1.34.4")
    lines = propose(seen(nodes=(two, one), classes=("fast",)), GIVEN, lambda *_: "big")
    values = {line.key: line.value for line in lines}
    assert (values["cluster.node"], values["resources.gpus"], values["engine.gpu_split"]) == ("big", "2", "90000,90000")
    with pytest.raises(UsageError, match="other offers no GPU: nodes with GPUs: gpu-box"):
        propose(seen(classes=("fast",)), GIVEN | {"cluster.node": "other"}, None)


def test_no_gpu_at_all_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"no node offers a GPU.*device plugin or the GPU operator"):
        propose(seen(nodes=()), GIVEN, None)


def test_logins_of_a_broken_config_are_none(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert logins(path) == ()
    for text in ("{", "[]", '{"auths": 1}'):
        path.write_text(text)
        assert logins(path) == ()
    path.write_text('{"auths": {"a": {}, "https://a/v1": {}}, "credHelpers": {"b": "x"}}')
    assert logins(path) == ("a", "b")
