"""The k3s user's first commands, up to a preflight without a problem: at most five, with a real registry."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ApiRequest, ReplayApi
from preflight_labels import card, labelled
from push_support import real_registry
from test_init import MODEL, NODE

from leviathan.cli.main import run as leviathan
from leviathan.preflight.cards import ARCHS

#: What the node of test_init also says once NVIDIA's feature discovery runs, as k3s' users install it.
SEEN = {
    **NODE,
    "spec": {},
    "metadata": {"name": "gpu-box", "labels": NODE["metadata"]["labels"] | card(8, 9)},
    "status": {**NODE["status"], "conditions": [{"type": "Ready", "status": "True"}]},
}
LISTS: dict[str, list[dict[str, Any]]] = {
    "/api/v1/nodes": [SEEN],
    "/apis/node.k8s.io/v1/runtimeclasses": [{"metadata": {"name": "nvidia"}, "handler": "nvidia"}],
    "/apis/storage.k8s.io/v1/storageclasses": [{"metadata": {"name": "local-path"}}],
}
OBJECTS = {
    "/version": {"gitVersion": "v1.33.4+k3s1", "major": "1", "minor": "33"},
    "/api/v1/nodes/gpu-box": SEEN,
    "/apis/node.k8s.io/v1/runtimeclasses/nvidia": LISTS["/apis/node.k8s.io/v1/runtimeclasses"][0],
}


class Fresh(ReplayApi):
    """A new k3s: what is above, nothing else, and everything is allowed."""

    def answer(self, asked: ApiRequest) -> Answer:
        self.asked.append(asked)
        if asked.path in OBJECTS:
            return Answer(200, OBJECTS[asked.path])
        if asked.method == "POST" and asked.path.endswith("reviews"):
            return Answer(201, {**asked.body, "status": {"allowed": True, "userInfo": {"username": "admin"}}})
        if asked.method == "GET" and "limit" in asked.query:
            return Answer(200, {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": LISTS.get(asked.path, [])})
        return Answer(404, {"kind": "Status", "code": 404, "message": "not found"})


@pytest.fixture
def fresh() -> Iterator[Fresh]:
    server = Fresh([], None)
    yield server
    server.close()


def test_five_commands_lead_to_a_preflight_without_a_problem(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of docs/sites.md, "From nothing to a deployment"; the image is the one for such cards."""
    typed = ["export KUBECONFIG=/etc/rancher/k3s/k3s.yaml"]
    monkeypatch.setenv("KUBECONFIG", str(fresh.kubeconfig(tmp_path)))
    monkeypatch.chdir(tmp_path)
    layout = labelled(tmp_path / "image", {ARCHS: "8.6 8.9 12.0"})
    with real_registry(tmp_path) as registry:
        typed.append(f"docker login {registry.host}")
        (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": "bWU6cHc="}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        commands: list[list[str]] = [
            ["init", *MODEL, "--set=registry.plain_http=true", f"--set=image.layout={layout}"],
            ["preflight"],
        ]
        for words in commands:
            typed.append(f"leviathan {' '.join(words)}")
            code = leviathan(words)
            said = capsys.readouterr()
            assert code == 0, said
    assert len(typed) <= 5
    assert "0 problems" in said.out
    changed: list[Any] = [each for each in fresh.asked if each.method != "GET" and not each.path.endswith("reviews")]
    assert all("dryRun" in each.query for each in changed)
    site = (tmp_path / "site.toml").read_text()
    for line in ('storage_class = "local-path"', 'api_key = "secret"', "make_pull_secret = true", 'node = "gpu-box"'):
        assert line in site
