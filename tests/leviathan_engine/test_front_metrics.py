"""The metrics alone: our own names and vLLM's for one and the same generation; the times of a generation."""

from prometheus_client.parser import text_string_to_metric_families

from leviathan_engine.front.access.record import Record
from leviathan_engine.front.fair_queue import FairQueue
from leviathan_engine.front.memory import gauges
from leviathan_engine.front.metrics import Finished, Metrics
from leviathan_engine.front.status import Status
from leviathan_engine.front.timing import Timing
from leviathan_engine.wire import ServedModel

DONE = Finished("m", prompt=100, cached=60, generated=5, waited=2.0, first=0.5, decoding=0.4, whole=2.9, reason="stop")


def samples(metrics: Metrics) -> dict[str, float]:
    """Each sample by its name and labels, as a Prometheus server reads them."""
    text, _ = metrics.render()
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_one_generation_under_both_names() -> None:
    metrics = Metrics()
    metrics.finished(DONE)
    metrics.token("m", 0.1)
    found = samples(metrics)
    both = [
        ("leviathan_prompt_tokens_total", "vllm:prompt_tokens_total{model_name=m}", 100),
        ("leviathan_generated_tokens_total", "vllm:generation_tokens_total{model_name=m}", 5),
        ("leviathan_queue_wait_seconds_sum", "vllm:request_queue_time_seconds_sum{model_name=m}", 2),
        ("leviathan_time_to_first_token_seconds_sum", "vllm:request_prefill_time_seconds_sum{model_name=m}", 0.5),
    ]
    for ours, theirs, value in both:
        assert found[ours] == found[theirs] == value
    # vLLM counts the time to the first token from the request, ours from the turn.
    assert found["vllm:time_to_first_token_seconds_sum{model_name=m}"] == 2.5
    assert found["vllm:e2e_request_latency_seconds_sum{model_name=m}"] == 2.9
    assert found["vllm:inter_token_latency_seconds_count{model_name=m}"] == 1
    assert found["vllm:request_success_total{finished_reason=stop,model_name=m}"] == 1
    assert (
        found["vllm:prefix_cache_queries_total{model_name=m}"],
        found["vllm:prefix_cache_hits_total{model_name=m}"],
    ) == (100, 60)
    assert found["leviathan_tokens_per_second"] == 10


def test_an_aborted_generation_is_no_success() -> None:
    metrics = Metrics()
    metrics.finished(Finished("m", 8, 0, 0, 1.0, None, 0.0, 1.0, "abort"))
    found = samples(metrics)
    assert not any(name.startswith("vllm:request_success_total") for name in found)
    assert found["leviathan_time_to_first_token_seconds_count"] == 0
    assert found["leviathan_prompt_tokens_total"] == 8


def test_labels_are_escaped() -> None:
    metrics = Metrics()
    metrics.requests.labels('x"\n\\', "200").inc(2)
    assert samples(metrics)['leviathan_requests_total{path=x"\n\\,status=200}'] == 2


def test_the_queue_under_both_names() -> None:
    metrics, status, queue = Metrics(), Status(), FairQueue(1)
    metrics.looked.look = lambda: gauges(status, queue)
    assert "vllm:num_requests_running{model_name=m}" not in samples(metrics)
    status.model = ServedModel("m", "", 512, 400, 100, 61, 1000)
    found = samples(metrics)
    assert found["vllm:num_requests_running{model_name=m}"] == found["leviathan_running"] == 0
    assert found["process_resident_memory_bytes"] > 1 << 20


def test_vllms_names_keep_their_colon() -> None:
    """In OpenMetrics the library writes vllm_; what a Prometheus makes of it: tests/host/test_host_prometheus.py."""
    metrics = Metrics()
    metrics.token("m", 0.1)
    text, media_type = metrics.render()
    assert media_type.startswith("text/plain; version=0.0.4")
    assert b"vllm:inter_token_latency_seconds_count" in text
    assert b"vllm_" not in text


def test_the_times_of_a_generation() -> None:
    now = [10.0]
    record, metrics = Record("r", came=10.0), Metrics()
    timing = Timing(record, "m", lambda: now[0])
    now[0] = 12.0
    timing.turn(100)
    timing.reuse(60)
    for moment in (12.5, 12.6, 12.7, 12.8, 12.9):
        now[0] = moment
        timing.token(metrics)
    timings = timing.timings()
    assert (timings["cache_n"], timings["prompt_n"], timings["predicted_n"]) == (60, 40, 5)
    assert (timings["prompt_ms"], timings["prompt_per_second"]) == (500.0, 80.0)
    assert (timings["predicted_ms"], timings["predicted_per_token_ms"], timings["predicted_per_second"]) == (
        400,
        100,
        10,
    )
    assert timings["queue_ms"] == 2000
    timing.end(metrics, "stop")
    assert (record.waited, record.first_token, record.finish) == (2.0, 0.5, "stop")
    assert (record.prompt_tokens, record.cached_tokens, record.generated_tokens) == (100, 60, 5)
    assert samples(metrics)["vllm:e2e_request_latency_seconds_sum{model_name=m}"] - 2.9 < 1e-9
