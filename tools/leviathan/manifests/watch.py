"""What watches the engine: a PodMonitor, alert rules, and a Grafana dashboard, each by a key of the site.

Sources: Prometheus Operator API (PodMonitor, PrometheusRule v1); Grafana's dashboard JSON and its sidecar's label
`grafana_dashboard`. The metrics are those of the front's /metrics.
"""

import json
from collections.abc import Iterator
from typing import Any

from leviathan.manifests.files import Object
from leviathan.manifests.networking import object_of
from leviathan.site.quantity import parse_quantity
from leviathan.site.schema import Site
from leviathan.site.start_budget import start_budget

MONITORING = "monitoring.coreos.com/v1"
#: Requests that wait, as a share of the queue, from which on the queue counts as full.
FULL = 0.8
#: Of the memory limit.
NEAR = 0.97
#: Of the day's mean: the share of experts found on a card has fallen below it.
FELL = 0.8
#: Minutes in which tokens were generated, so that the last answer's figures are of now.
USED_MIN = 10
#: The engine's own length of the queue, where engine.queue is 0.
QUEUE = 64
#: Title, query and unit of a panel; `$pods` is the pods' selector.
PANELS: tuple[tuple[str, str, str], ...] = (
    ("Ready", "leviathan_ready{$pods}", "short"),
    ("Tokens a second, last answer", "leviathan_tokens_per_second{$pods}", "short"),
    ("Tokens a second, generated", "rate(leviathan_generated_tokens_total{$pods}[5m])", "short"),
    ("Prompt tokens a second", "rate(leviathan_prompt_tokens_total{$pods}[5m])", "short"),
    ("Requests running and waiting", "leviathan_running{$pods} + leviathan_queue_waiting{$pods}", "short"),
    (
        "Time to the first token, p99",
        "histogram_quantile(0.99, sum by (le) (rate(leviathan_time_to_first_token_seconds_bucket{$pods}[5m])))",
        "s",
    ),
    (
        "Wait in the queue, p99",
        "histogram_quantile(0.99, sum by (le) (rate(leviathan_queue_wait_seconds_bucket{$pods}[5m])))",
        "s",
    ),
    (
        "Share of prompts found in the cache",
        "rate(vllm:prefix_cache_hits_total{$pods}[5m]) / rate(vllm:prefix_cache_queries_total{$pods}[5m])",
        "percentunit",
    ),
    ("Share of experts found on a card", "leviathan_expert_hit_ratio{$pods}", "percentunit"),
    ("KV cache in use", "vllm:kv_cache_usage_perc{$pods}", "percentunit"),
    ("Memory of the container", "leviathan_memory_bytes{$pods}", "bytes"),
    ("Memory of the cards", "leviathan_vram_used_bytes{$pods}", "bytes"),
    ("Load", "leviathan_load_ratio{$pods}", "percentunit"),
)


def watch(site: Site) -> Iterator[Object]:
    """The objects that the site's keys ask for."""
    more = dict(text.split("=", 1) for text in site.watch.labels)
    for wanted, make in (
        (site.watch.pod_monitor, _monitor),
        (site.watch.alerts, _rule),
        (site.watch.dashboard, _board),
    ):
        if wanted:
            made = make(site)
            made["metadata"]["labels"] = more | made["metadata"]["labels"]
            yield made


def scrape_annotations(site: Site) -> dict[str, str]:
    """The annotations that a Prometheus without an operator looks for at pods."""
    scheme = "https" if site.access.tls_secret else "http"
    found = {"scrape": "true", "port": str(site.engine.port), "path": "/metrics", "scheme": scheme}
    return {f"prometheus.io/{key}": value for key, value in found.items()}


def _monitor(site: Site) -> Object:
    endpoint: dict[str, Any] = {"port": "http", "path": "/metrics", "interval": "15s"}
    if site.access.tls_secret:
        endpoint |= {"scheme": "https", "tlsConfig": {"insecureSkipVerify": True}}
    spec = {"selector": {"matchLabels": {"app": site.workload.app}}, "podMetricsEndpoints": [endpoint]}
    return object_of(site, MONITORING, "PodMonitor", site.workload.deployment, spec=spec)


def _rule(site: Site) -> Object:
    groups = [{"name": f"leviathan-{site.workload.deployment}", "rules": rules(site)}]
    return object_of(site, MONITORING, "PrometheusRule", site.workload.deployment, spec={"groups": groups})


def rules(site: Site) -> list[dict[str, Any]]:
    """The alert rules, with the site's numbers in them."""
    pods = selector(site)
    queue = site.engine.queue or QUEUE
    ready, rate = f"leviathan_ready{{{pods}}}", f"leviathan_tokens_per_second{{{pods}}}"
    hits = f"leviathan_expert_hit_ratio{{{pods}}}"
    busy = (
        f"increase(leviathan_generated_tokens_total{{{pods}}}[{USED_MIN}m]) > 0"  # an idle gauge keeps its last value
    )
    limit = int(parse_quantity(site.resources.memory_limit))
    start_min = max(1, start_budget(site).progress_deadline_s // 60)
    container = f'namespace="{site.cluster.namespace}",pod=~"{site.workload.deployment}-.*",container="engine"'
    floor = site.smoke.min_tokens_per_s
    table = (
        ("NotReady", f"{ready} == 0 or absent({ready})", f"{start_min}m", "critical",
         f"The model has not answered for {start_min} minutes, the site's start budget: leviathan status"),
        ("Restarts", f"increase(kube_pod_container_status_restarts_total{{{container}}}[1h]) > 0", "0m", "warning",
         "The engine was restarted in the last hour: leviathan logs --previous"),
        ("QueueFull", f"leviathan_queue_waiting{{{pods}}} > {FULL * queue:g}", "5m", "warning",
         f"More than {FULL:.0%} of the queue's {queue} places are taken; the next requests get 429"),
        ("Slow", f"{rate} < {floor:g} and {busy}", "15m",
         "warning", f"Answers come at less than smoke.min_tokens_per_s = {floor:g}: leviathan doctor"),
        ("SlowLoad", f"leviathan_load_estimate_seconds{{{pods}}} > {start_min * 60}", "5m", "warning",
         "At its rate the load takes longer than the start budget: start.disk_mb_per_s is not reached"),
        ("MemoryNearLimit", f"leviathan_engine_resident_bytes{{{pods}}} > {int(NEAR * limit)}", "10m", "warning",
         f"The engine has more than {NEAR:.0%} of resources.memory_limit = {site.resources.memory_limit}"),
        ("ExpertHitsFell", f"{hits} < {FELL:g} * avg_over_time({hits}[1d]) and {busy}", "30m", "warning",
         f"The cards serve less than {FELL:.0%} of the experts' uses that they served over the day"),
    )  # fmt: skip
    return [
        {
            "alert": f"Leviathan{name}",
            "expr": expression,
            "for": lasting,
            "labels": {"severity": severity},
            "annotations": {"summary": text},
        }
        for name, expression, lasting, severity, text in table
    ]


def selector(site: Site) -> str:
    """The labels that Prometheus gives what it scrapes from the site's pods."""
    return f'namespace="{site.cluster.namespace}",pod=~"{site.workload.deployment}-.*"'


def dashboard(site: Site) -> dict[str, Any]:
    """Grafana's dashboard."""
    panels = []
    for number, (title, query, unit) in enumerate(PANELS):
        panels.append(
            {
                "id": number + 1,
                "title": title,
                "type": "timeseries",
                "gridPos": {"x": 8 * (number % 3), "y": 8 * (number // 3), "w": 8, "h": 8},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [{"refId": "A", "expr": query.replace("$pods", selector(site)), "legendFormat": "{{pod}}"}],
            }
        )
    return {
        "uid": f"leviathan-{site.workload.deployment}"[:40],
        "title": f"Leviathan: {site.engine.model_name}",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "panels": panels,
    }


def _board(site: Site) -> Object:
    name = f"{site.workload.deployment}-dashboard"
    data = {f"{site.workload.deployment}.json": json.dumps(dashboard(site), indent=1)}
    made = object_of(site, "v1", "ConfigMap", name, data=data)
    made["metadata"]["labels"]["grafana_dashboard"] = "1"
    return made
