"""Alert rules and dashboard: promtool plays time for the rules, a real Prometheus scrapes a real front."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus import Prometheus, promtool

sys.path.append(str(Path(__file__).resolve().parents[1] / "leviathan_engine"))

from front_process import FrontProcess

from leviathan.manifests.watch import dashboard, rules
from leviathan.site.load import load
from leviathan.site.schema import Site

SITES = [None, *sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))]
DIGEST = f"sha256:{'1' * 64}"
POD = {"namespace": "ai-workloads", "pod": "cortex-leviathan-1"}
LABELS = 'namespace="ai-workloads",pod="cortex-leviathan-1"'
#: Of kube-state-metrics, which is not ours and not here.
OF_OTHERS = "kube_pod_container_status_restarts_total"


def site(path: Path | None = None) -> Site:
    return load(path, settings=[f"image.digest={DIGEST}"]).site


def rule_file(folder: Path, wanted: Site) -> Path:
    file = folder / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "leviathan", "rules": rules(wanted)}]}))
    return file


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem if path else "default")
def test_promtool_takes_the_rules(path: Path | None, tmp_path: Path) -> None:
    assert "7 rules found" in promtool("check", "rules", "--lint-fatal", rule_file(tmp_path, site(path)))


def played(alert: str, minute: int, series: dict[str, str], fires: bool) -> dict[str, Any]:
    """A test of promtool's: whether the alert fires at a minute, with series of a value a minute."""
    (rule,) = (each for each in rules(site()) if each["alert"] == alert)
    expected = {"exp_labels": {**POD, **rule["labels"]}, "exp_annotations": rule["annotations"]}
    if alert == "LeviathanRestarts":
        expected["exp_labels"] = expected["exp_labels"] | {"container": "engine"}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [expected] if fires else []}],
    }


def own(name: str) -> str:
    return f"leviathan_{name}{{{LABELS}}}"


TOKENS, IDLE = {own("generated_tokens_total"): "0+60x2000"}, {own("generated_tokens_total"): "500x2000"}
RESTARTS = f'{OF_OTHERS}{{{LABELS},container="engine"}}'
GIB = 2**30


@pytest.mark.parametrize(
    "scene",
    [
        played("LeviathanNotReady", 40, {own("ready"): "0x60"}, True),
        played("LeviathanNotReady", 20, {own("ready"): "0x60"}, False),  # within the start budget of 28 minutes
        played("LeviathanNotReady", 40, {own("ready"): "1x60"}, False),
        played("LeviathanRestarts", 30, {RESTARTS: "0x20 1x20"}, True),
        played("LeviathanRestarts", 100, {RESTARTS: "0x20 1x100"}, False),
        played("LeviathanQueueFull", 10, {own("queue_waiting"): "60x20"}, True),
        played("LeviathanQueueFull", 10, {own("queue_waiting"): "51x20"}, False),
        played("LeviathanSlow", 40, {own("tokens_per_second"): "1x60", **TOKENS}, True),
        played("LeviathanSlow", 40, {own("tokens_per_second"): "3x60", **TOKENS}, False),
        played("LeviathanSlow", 40, {own("tokens_per_second"): "1x60", **IDLE}, False),  # of an answer long ago
        played("LeviathanSlowLoad", 10, {own("load_estimate_seconds"): "4000x20"}, True),
        played("LeviathanSlowLoad", 10, {own("load_estimate_seconds"): "900x20"}, False),
        played("LeviathanMemoryNearLimit", 20, {own("engine_resident_bytes"): f"{355 * GIB}x30"}, True),
        played("LeviathanMemoryNearLimit", 20, {own("engine_resident_bytes"): f"{300 * GIB}x30"}, False),
        played("LeviathanExpertHitsFell", 1440, {own("expert_hit_ratio"): "0.8x1400 0.4x100", **TOKENS}, True),
        played("LeviathanExpertHitsFell", 1440, {own("expert_hit_ratio"): "0.8x1400 0.75x100", **TOKENS}, False),
        played("LeviathanExpertHitsFell", 1440, {own("expert_hit_ratio"): "0.8x1400 0.4x100", **IDLE}, False),
    ],
    ids=lambda scene: scene["alert_rule_test"][0]["alertname"],
)
def test_each_alert_fires_when_it_should_and_not_before(scene: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(rule_file(tmp_path, site()))], "tests": [scene]}))
    promtool("test", "rules", file)


def test_not_ready_fires_where_nothing_is_scraped_at_all(tmp_path: Path) -> None:
    (rule,) = (each for each in rules(site()) if each["alert"] == "LeviathanNotReady")
    alert = {"exp_labels": {"namespace": "ai-workloads", **rule["labels"]}, "exp_annotations": rule["annotations"]}
    asked = {"eval_time": "40m", "alertname": "LeviathanNotReady", "exp_alerts": [alert]}
    scene = {"interval": "1m", "input_series": [], "alert_rule_test": [asked]}
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(rule_file(tmp_path, site()))], "tests": [scene]}))
    promtool("test", "rules", file)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a front which has answered twice since the first scrape."""
    folder = tmp_path_factory.mktemp("prometheus")
    front = FrontProcess(folder)
    of_worker = {"leviathan_cache_pages": 8.0, "leviathan_cache_pages_used": 2.0, "leviathan_expert_hit_ratio": 0.7}
    front.letters.gauges = lambda: of_worker  # type: ignore[method-assign]
    front.serve()
    target = {"targets": [front.url.removeprefix("http://")], "labels": POD}
    job = {"job_name": "engine", "scrape_interval": "1s", "static_configs": [target]}
    asked = {"evaluation_interval": "1s"}
    rule_files = [str(rule_file(folder, site()))]
    server = Prometheus(folder, {"global": asked, "scrape_configs": [job], "rule_files": rule_files})
    try:
        server.until("up == 1")
        for answers in (1, 2):
            body = {"model": "letters", "messages": [{"role": "user", "content": "hello"}], "temperature": 0}
            assert front.post("/v1/chat/completions", body).status_code == 200
            server.until(f"leviathan_time_to_first_token_seconds_count == {answers}")  # a rate is between two scrapes
        yield server
    finally:
        server.close()
        front.close()


@pytest.mark.parametrize("panel", dashboard(site())["panels"], ids=lambda panel: panel["title"])
def test_each_panel_of_the_dashboard_has_series(scraped: Prometheus, panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    assert scraped.until(f"({target['expr']}) >= 0")  # which leaves out NaN


def test_each_rule_is_asked_and_each_metric_in_it_is_there(scraped: Prometheus) -> None:
    scraped.until("leviathan_ready == 1")
    (group,) = scraped.get("rules")["groups"]
    assert len(group["rules"]) == len(rules(site()))
    selectors = {found for rule in rules(site()) for found in re.findall(r"[a-z_:]+\{[^}]*\}", rule["expr"])}
    assert len(selectors) >= len(rules(site()))
    for selector in selectors:
        if not selector.startswith(OF_OTHERS):
            scraped.until(selector)
    assert scraped.series("leviathan_no_such_metric") == []  # the control


def test_the_pods_annotations_are_where_the_front_answers() -> None:
    """The path and the port of the annotations and of the PodMonitor are those of the engine."""
    from leviathan.manifests.rendering import render  # noqa: PLC0415

    wanted = load(settings=[f"image.digest={DIGEST}", "watch.scrape_annotations=true", "watch.pod_monitor=true"]).site
    objects = {each["kind"]: each for each in render(wanted, {}).objects}
    pod = objects["Deployment"]["spec"]["template"]
    (port,) = (each for each in pod["spec"]["containers"][0]["ports"] if each["name"] == "http")
    (endpoint,) = objects["PodMonitor"]["spec"]["podMetricsEndpoints"]
    annotations = pod["metadata"]["annotations"]
    assert (endpoint["port"], endpoint["path"]) == ("http", annotations["prometheus.io/path"])
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert objects["PodMonitor"]["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
