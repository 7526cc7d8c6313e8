"""PodMonitor, alert rules and dashboard: their metrics are the front's own, and the site's numbers stand in them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from leviathan.errors import RenderError
from leviathan.manifests.rendering import render
from leviathan.manifests.watch import dashboard, rules
from leviathan.site.load import load
from leviathan.site.schema import Site

DIGEST = f"sha256:{'1' * 64}"
ALL = ("watch.pod_monitor=true", "watch.alerts=true", "watch.dashboard=true", "watch.labels=release=kps")
FRONT = Path(__file__).parents[2] / "tools" / "leviathan_engine" / "front"
#: Those that kube-state-metrics has.
OF_OTHERS = {"kube_pod_container_status_restarts_total"}


def site(*settings: str) -> Site:
    return load(settings=[f"image.digest={DIGEST}", *settings]).site


def rendered(*settings: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in render(site(*settings), {}).objects}


def test_what_is_asked_for_is_rendered_with_the_labels() -> None:
    objects = rendered(*ALL)
    for kind in ("PodMonitor", "PrometheusRule", "ConfigMap"):
        labels = objects[kind]["metadata"]["labels"]
        assert labels["release"] == "kps"
        assert labels["app.kubernetes.io/managed-by"] == "leviathan"
    assert objects["PodMonitor"]["spec"]["selector"] == {"matchLabels": {"app": "leviathan-671b"}}
    assert "scheme" not in objects["PodMonitor"]["spec"]["podMetricsEndpoints"][0]
    assert json.loads(objects["ConfigMap"]["data"]["cortex-leviathan.json"])["panels"]
    with_tls = rendered(*ALL, "access.tls_secret=t")["PodMonitor"]["spec"]["podMetricsEndpoints"][0]
    assert with_tls["scheme"] == "https"


def test_annotations_are_the_pods_and_nothing_is_the_default() -> None:
    template = rendered("watch.scrape_annotations=true")["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert template["prometheus.io/port"] == "30000"
    assert set(rendered()) == {"Namespace", "Deployment", "Service"}


def metrics(query: str) -> set[str]:
    """The metrics that a query names: what stands before a brace or a bracket."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"([a-z_:]+)(?=\{)", query)}


def test_every_metric_is_one_of_the_fronts() -> None:
    code = "".join(path.read_text() for path in FRONT.rglob("*.py"))
    queries = [rule["expr"] for rule in rules(site())]
    queries += [panel["targets"][0]["expr"] for panel in dashboard(site())["panels"]]
    named = set().union(*map(metrics, queries)) - OF_OTHERS
    assert len(named) > 12
    missing = [
        name for name in sorted(named) if f'"{name}"' not in code and f'"{name.removeprefix("vllm:")}"' not in code
    ]
    assert missing == []


def test_the_rules_have_the_sites_numbers() -> None:
    by_name = {rule["alert"]: rule for rule in rules(site("engine.queue=10", "smoke.min_tokens_per_s=7"))}
    assert set(by_name) == {
        *("LeviathanNotReady", "LeviathanRestarts", "LeviathanQueueFull"),
        *("LeviathanSlow", "LeviathanSlowLoad", "LeviathanMemoryNearLimit", "LeviathanExpertHitsFell"),
    }
    assert by_name["LeviathanQueueFull"]["expr"].endswith("> 8")
    assert "< 7 and" in by_name["LeviathanSlow"]["expr"]
    assert by_name["LeviathanNotReady"]["for"] == "28m"
    assert str(int(0.97 * 360 * 2**30)) in by_name["LeviathanMemoryNearLimit"]["expr"]
    for rule in by_name.values():
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["annotations"]["summary"]


def write(folder: Path, name: str, *objects: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(yaml.safe_dump_all(objects))


BUDGET = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "engine"},
    "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "leviathan-671b"}}},
}


def test_extra_objects_become_ours(tmp_path: Path) -> None:
    write(tmp_path / "extra", "pdb.yaml", BUDGET)
    objects = rendered(f"manifests.extra={tmp_path}/extra")
    made = objects["PodDisruptionBudget"]["metadata"]
    assert made["namespace"] == "ai-workloads"
    assert made["labels"] == {"app.kubernetes.io/managed-by": "leviathan"}
    assert objects["Deployment"]["metadata"]["annotations"]["leviathan/more-kinds"] == "PodDisruptionBudget"


def test_extra_objects_that_cannot_be_ours_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "extra"
    with pytest.raises(RenderError, match=r"manifests\.extra has no \.yaml file"):
        rendered(f"manifests.extra={folder}")
    write(folder, "pdb.yaml", BUDGET | {"metadata": {"name": "engine", "namespace": "other"}})
    with pytest.raises(RenderError, match="PodDisruptionBudget/engine is in the namespace other"):
        rendered(f"manifests.extra={folder}")
    (folder / "pdb.yaml").write_text("kind: [")
    with pytest.raises(RenderError, match="the manifest is no"):
        rendered(f"manifests.extra={folder}")


def test_an_extra_deployment_keeps_to_the_policy(tmp_path: Path) -> None:
    pod = {"containers": [{"name": "x", "image": "x:latest"}]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}
    write(
        tmp_path / "extra",
        "d.yaml",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec},
    )
    with pytest.raises(RenderError, match=r"image-by-digest: Deployment/d: image x:latest"):
        rendered(f"manifests.extra={tmp_path}/extra")
