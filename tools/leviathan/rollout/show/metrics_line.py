"""Formats one line of `leviathan top` from the engine's /metrics, with rates since the previous reading."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from leviathan.errors import LeviathanError
from leviathan.rollout.observe.health import fetch

SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(\{[^}]*\})? ([-+0-9.eEinfNa]+)(?: \d+)?")
COLUMNS = (
    "ready",
    "running",
    "waiting",
    "tok/s",
    "prompt/s",
    "reading",
    "first s",
    "cached",
    "KV",
    "memory GiB",
    "requests",
)
HEAD = " ".join(name.rjust(10) for name in COLUMNS)
FIRST = "leviathan_time_to_first_token_seconds"


@dataclass(frozen=True)
class Look:
    """One reading of /metrics: each metric summed over its labels, and the time in seconds of a clock."""

    metrics: Mapping[str, float]
    at: float


def look(url: str, clock: Callable[[], float]) -> Look:
    """Read /metrics. Errors: LeviathanError if nothing answers, or not the engine."""
    status, body, why = fetch(f"{url}/metrics")
    found = sums(body.decode("utf-8", "replace")) if status == 200 else {}
    if "leviathan_ready" not in found:
        raise LeviathanError(
            "cannot read the engine's metrics",
            where=f"{url}/metrics",
            why=why or f"HTTP {status}",
            remedy="leviathan status; to use another address: --url URL",
        )
    return Look(found, clock())


def sums(text: str) -> dict[str, float]:
    """The values of Prometheus' text format, summed over labels."""
    found: dict[str, float] = {}
    for each in text.splitlines():
        match = SAMPLE.fullmatch(each)
        if match is not None:
            try:
                found[match[1]] = found.get(match[1], 0.0) + float(match[3])
            except ValueError:
                continue
    return found


def line(now: Look, before: Look | None) -> str:
    """The columns for the reading `now`. Rates are since `before`, and `-` without it."""
    have = now.metrics
    passed = now.at - before.at if before is not None else 0.0

    def grown(name: str) -> float | None:
        return have[name] - before.metrics.get(name, 0.0) if before is not None and name in have else None

    def rate(name: str) -> str:
        more = grown(name)
        return f"{more / passed:.1f}" if more is not None and passed > 0 else "-"

    def share(part: float | None, whole: float | None, digits: int = 0) -> str:
        return f"{100 * part / whole:.{digits}f} %" if part is not None and whole else "-"

    firsts, count = grown(f"{FIRST}_sum"), grown(f"{FIRST}_count")
    values = (
        "yes" if have["leviathan_ready"] else share(have.get("leviathan_load_ratio"), 1.0),
        f"{have.get('leviathan_running', 0):.0f}",
        f"{have.get('leviathan_queue_waiting', 0):.0f}",
        rate("leviathan_generated_tokens_total"),
        rate("leviathan_prompt_tokens_total"),
        share(have.get("leviathan_prompt_read_tokens"), have.get("leviathan_prompt_read_total_tokens")),
        f"{firsts / count:.2f}" if firsts is not None and count else "-",
        share(grown("vllm:prefix_cache_hits_total"), grown("vllm:prefix_cache_queries_total")),
        share(have.get("vllm:kv_cache_usage_perc"), 1.0),
        f"{have['leviathan_memory_bytes'] / 2**30:.1f}" if "leviathan_memory_bytes" in have else "-",
        f"{have.get('leviathan_requests_total', 0):.0f}",
    )
    return " ".join(value.rjust(10) for value in values)
