"""The metrics of the front while it serves: what they count, and the form of the text."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from front_process import SERVED, FrontProcess, serving

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    yield from serving(tmp_path_factory.mktemp("front"), LEVIATHAN_QUEUE="3", LEVIATHAN_MAX_BODY="100000")


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "letters", "messages": HELLO, "temperature": 0} | changes


def test_metrics_show_what_was_done(front: FrontProcess) -> None:
    label = f'{{path="{CHAT}",status="200"}}'
    grow = {
        "leviathan_generated_tokens_total": 7,
        "leviathan_prompt_tokens_total": 8,
        "leviathan_requests_total" + label: 1,
        "leviathan_time_to_first_token_seconds_count": 1,
        "leviathan_queue_wait_seconds_count": 1,
        'leviathan_queue_wait_seconds_bucket{le="+Inf"}': 1,
    }
    before = {name: front.metric(name) for name in grow}
    front.letters.delay = 0.02
    try:
        front.post(CHAT, chat(max_tokens=7))
    finally:
        front.letters.delay = 0.0
    assert {name: front.metric(name) - before[name] for name in grow} == grow
    # 20 ms a token at the least, so 50 a second at the most; the front may have seen the first one late.
    assert 1 < front.metric("leviathan_tokens_per_second") <= 60
    now = {
        "leviathan_ready": 1,
        "leviathan_load_ratio": 1,
        "leviathan_load_layers": SERVED.layers,
        "leviathan_load_bytes": SERVED.total_bytes,
        "leviathan_load_total_bytes": SERVED.total_bytes,
        "leviathan_queue_waiting": 0,
        "leviathan_running": 0,
        'leviathan_vram_used_bytes{gpu="0"}': 5,
        'leviathan_vram_total_bytes{gpu="0"}': 7,
        "leviathan_cache_pages": 8,
        "leviathan_cache_pages_used": 2,
        'vllm:kv_cache_usage_perc{model_name="letters"}': 0.25,
        "leviathan_unknown": 0,  # what the front has no text for is not shown
    }
    assert {name: front.metric(name) for name in now} == now
    assert front.metric("leviathan_engine_resident_bytes") > 1 << 20


SAMPLE = re.compile(r"([a-z_:0-9]+)(\{[a-z_]+=\"[^\"\\\n]*\"(,[a-z_]+=\"[^\"\\\n]*\")*\})? ([0-9.e+-]+)")


def test_metrics_are_prometheus_text(front: FrontProcess) -> None:
    """HELP and TYPE once, before the samples of that name; every sample a number; a counter's name ends in _total."""
    answer = httpx.get(front.url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    kinds: dict[str, str] = {}
    current = ""
    for line in answer.text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in kinds
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == current
            kinds[current] = line.split(" ")[3]
        else:
            found = SAMPLE.fullmatch(line)
            assert found is not None, line
            float(found[4])
            assert re.fullmatch(current + ("(_bucket|_sum|_count)" if kinds[current] == "histogram" else ""), found[1])
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items())
    assert len(kinds) >= 18
    assert answer.text.endswith("\n")
