"""The metrics of /metrics, with prometheus-client: our own names, and vLLM's names for what both count.

vLLM's names have its label `model_name`, so that dashboards and autoscalers for vLLM work here. Their meanings are
those of vLLM's documentation (docs/usage/metrics.md).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 10)
TOKENS = (1, 10, 100, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000)
MODEL = ("model_name",)

# Removes the second line of each counter, with its creation time.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Finished:
    """A finished generation. Times in seconds: `waited` for the turn, `first` from the turn to the first token (None
    without one), `decoding` from the first token to the end, `whole` from the request to the end.

    `cached` tokens of the prompt came from the prefix cache; `reason` is OpenAI's finish_reason, or "abort".
    """

    model: str
    prompt: int
    cached: int
    generated: int
    waited: float
    first: float | None
    decoding: float
    whole: float
    reason: str


class Looked(Collector):
    """Metrics that are computed at each scrape."""

    def __init__(self) -> None:
        """Starts without metrics."""
        self.look: Callable[[], Iterable[Metric]] = tuple

    def collect(self) -> Iterable[Metric]:
        """Returns the current metrics."""
        return self.look()


class Metrics:
    """The metrics that the front counts, and in `looked` those that are computed at each scrape."""

    def __init__(self) -> None:
        """Creates all counters at 0, in a separate registry."""
        self.registry = registry = CollectorRegistry(auto_describe=False)
        self.looked = Looked()
        registry.register(self.looked)
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "leviathan_requests_total", "Answers, by path and HTTP status.", ("path", "status"), registry=registry
        )
        self.cancelled = Counter("leviathan_cancelled_total", "Requests whose client disconnected.", registry=registry)
        self._prompt_tokens = Counter("leviathan_prompt_tokens_total", "Tokens of prompts.", registry=registry)
        self._tokens = Counter("leviathan_generated_tokens_total", "Tokens generated.", registry=registry)
        self._rate = Gauge("leviathan_tokens_per_second", "Decoding rate of the last answer.", registry=registry)
        self._first = Histogram(
            "leviathan_time_to_first_token_seconds",
            "Seconds from the request's turn to the first token.",
            buckets=SECONDS,
            registry=registry,
        )
        self._waited = Histogram(
            "leviathan_queue_wait_seconds", "Seconds from the request to its turn.", buckets=SECONDS, registry=registry
        )
        self._vllm = Vllm(registry)

    def token(self, model: str, seconds: float) -> None:
        """Counts a token that arrived `seconds` after the previous one."""
        self._vllm.between.labels(model).observe(seconds)

    def finished(self, one: Finished) -> None:
        """A generation has ended."""
        self._prompt_tokens.inc(one.prompt)
        self._tokens.inc(one.generated)
        self._waited.observe(one.waited)
        if one.first is not None:
            self._first.observe(one.first)
        if one.generated > 1 and one.decoding > 0:
            self._rate.set((one.generated - 1) / one.decoding)
        self._vllm.finished(one)

    def render(self) -> tuple[bytes, str]:
        """Returns the text and its media type, always in Prometheus' own format.

        In OpenMetrics, which Prometheus prefers, prometheus_client writes vLLM's colon as an underscore, so dashboards
        would not find the series.
        """
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4


class Vllm:
    """Metrics with vLLM's names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers them; a series appears with the first request."""

        def histogram(name: str, text: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(f"vllm:{name}", text, MODEL, buckets=buckets, registry=registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = MODEL) -> Counter:
            return Counter(f"vllm:{name}", text, labels, registry=registry)

        self.prompt = counter("prompt_tokens_total", "Tokens of prompts.")
        self.generated = counter("generation_tokens_total", "Tokens generated.")
        self.success = counter("request_success_total", "Answers, by finish reason.", (*MODEL, "finished_reason"))
        self.queries = counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.")
        self.hits = counter("prefix_cache_hits_total", "Prompt tokens found in the prefix cache.")
        self.first = histogram("time_to_first_token_seconds", "Seconds from the request to the first token.")
        self.between = histogram("inter_token_latency_seconds", "Seconds between two tokens.", TOKEN_SECONDS)
        self.whole = histogram("e2e_request_latency_seconds", "Seconds from the request to the end of its answer.")
        self.queue = histogram("request_queue_time_seconds", "Seconds from the request to its turn.")
        self.prefill = histogram("request_prefill_time_seconds", "Seconds from the request's turn to the first token.")
        self.decode = histogram("request_decode_time_seconds", "Seconds from the first token to the last.")
        self.prompt_size = histogram("request_prompt_tokens", "Tokens of a prompt.", TOKENS)
        self.answer_size = histogram("request_generation_tokens", "Tokens of an answer.", TOKENS)

    def finished(self, one: Finished) -> None:
        """A generation has ended."""
        model = one.model
        self.prompt.labels(model).inc(one.prompt)
        self.generated.labels(model).inc(one.generated)
        self.queries.labels(model).inc(one.prompt)
        self.hits.labels(model).inc(one.cached)
        if one.reason != "abort":
            self.success.labels(model, one.reason).inc()
        self.whole.labels(model).observe(one.whole)
        self.queue.labels(model).observe(one.waited)
        self.prompt_size.labels(model).observe(one.prompt)
        self.answer_size.labels(model).observe(one.generated)
        if one.first is not None:
            self.first.labels(model).observe(one.waited + one.first)
            self.prefill.labels(model).observe(one.first)
            self.decode.labels(model).observe(one.decoding)


def gauge(name: str, text: str, value: float, **labels: str) -> GaugeMetricFamily:
    """Returns a gauge with one value."""
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family
