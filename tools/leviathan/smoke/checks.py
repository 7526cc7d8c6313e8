"""The smoke checks. Each sends requests to the endpoint, and returns what it received, or raises Wrong or Missing."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leviathan.site.model_sections import Smoke
from leviathan.smoke.answers import Said, quoted, streamed, whole
from leviathan.smoke.endpoint import Answer, Endpoint, Unreachable, shown
from leviathan.smoke.result import Measured, Missing, Wrong

#: 4xx statuses that are not about the content of the request: authentication, rate limits, timeouts.
NOT_ABOUT_IT = frozenset({401, 403, 407, 408, 429})
#: An answer with at least this many tokens must arrive in more than one piece; otherwise it was not streamed.
SEVERAL = 8
PAUSE_S = 0.5


@dataclass
class Asking:
    """The shared state of the checks: endpoint, model name, the site's limits, and the measurement once it is made."""

    endpoint: Endpoint
    model: str
    smoke: Smoke
    sleep: Callable[[float], None] = time.sleep
    measured: Measured | None = None


@dataclass(frozen=True)
class Check:
    """One check: `wanted`, a template with {model}, {ttft} and {rate} from the site; `remedy`, if it fails."""

    name: str
    wanted: str
    remedy: str
    ask: Callable[[Asking], str]

    def wants(self, asking: Asking) -> str:
        """What this check expects, in words."""
        return self.wanted.format(
            model=asking.model, ttft=f"{asking.smoke.max_ttft_s:g}", rate=f"{asking.smoke.min_tokens_per_s:g}"
        )


def health(asking: Asking) -> str:
    """Checks that `/health` is 200 with status ok. Waits up to `smoke.reach_s` seconds for the port to open."""
    ends = asking.endpoint.clock() + asking.smoke.reach_s
    while True:
        try:
            answer = asking.endpoint.get("/health")
            break
        except Unreachable:
            if asking.endpoint.clock() + PAUSE_S >= ends:
                raise
            asking.sleep(PAUSE_S)
    if answer.status == 503 and (loading := _loading(answer)):
        raise Wrong(loading)
    if answer.object().get("status") != "ok":
        raise Wrong(answer.text())
    return "200, ok"


def models(asking: Asking) -> str:
    """Checks that `/v1/models` lists the model."""
    answer = asking.endpoint.get("/v1/models")
    found = answer.object().get("data")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Wrong(answer.text())
    names = [shown(str(each.get("id")), 60) for each in found]
    if asking.model not in names:
        raise Wrong(f"the models {', '.join(names)}" if names else "an empty list")
    return ", ".join(names)


def completion(asking: Asking) -> str:
    """Checks that a greedy completion gives the same answer twice."""
    first, second = _complete(asking), _complete(asking)
    if first != second:
        at = next((n for n, (a, b) in enumerate(zip(first.text, second.text, strict=False)) if a != b), None)
        if at is None:
            raise Wrong(f"{first.words()} and then {second.words()}")
        raise Wrong(
            f"texts that differ after {at} characters: {quoted(first.text[at:])} and then {quoted(second.text[at:])}"
        )
    return f"{first.words()}, twice"


def stream(asking: Asking) -> str:
    """Checks that a streamed chat equals the same chat without streaming. Measures its speed."""
    body = _chat(asking)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    said, asking.measured = streamed(asking.endpoint.stream("/v1/chat/completions", {**body, **options}), asking.model)
    once = whole(asking.endpoint.post("/v1/chat/completions", body), chat=True)
    if said != once:
        raise Wrong(f"{said.words()}; but without streaming: {once.words()}")
    if said.tokens >= SEVERAL and asking.measured.pieces < 2:
        raise Wrong(f"all {said.tokens} tokens in one piece: a proxy in between buffers the stream")
    return f"{said.words()} in {asking.measured.pieces} pieces"


def refusal(asking: Asking) -> str:
    """Checks that a chat whose messages are not a list is refused as the client's mistake."""
    answer = asking.endpoint.post("/v1/chat/completions", {"model": asking.model, "messages": "no list"})
    if not 400 <= answer.status < 500 or answer.status in NOT_ABOUT_IT:
        raise answer.wrong()
    error = answer.object(answer.status).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    if not isinstance(message, str) or not message:
        raise Wrong(answer.text())
    return f"{answer.status}: {shown(message)}"


def first_token(asking: Asking) -> str:
    """Checks the time to first token of the streamed chat."""
    seconds = _measured(asking).first_s
    if seconds > asking.smoke.max_ttft_s:
        raise Wrong(f"{seconds:.2f} s")
    return f"{seconds:.2f} s (at most {asking.smoke.max_ttft_s:g} s)"


def rate(asking: Asking) -> str:
    """Checks the token rate of the streamed chat."""
    found = _measured(asking)
    if found.rate is None:
        raise Wrong(f"{found.tokens} tokens at the same moment, so the rate cannot be measured")
    if found.rate < asking.smoke.min_tokens_per_s:
        raise Wrong(f"{found.rate:.2f} tokens/s ({found.tokens} tokens)")
    return f"{found.rate:.2f} tokens/s (at least {asking.smoke.min_tokens_per_s:g})"


LOGS = "leviathan status; leviathan logs"
CHECKS = (
    Check("health", '200 with status "ok" from /health', LOGS, health),
    Check(
        "models",
        "the model {model} in /v1/models",
        "set engine.model_name to the engine's model, then leviathan apply; or stop the other server on this port",
        models,
    ),
    Check("completion", "the same completion twice at temperature 0", LOGS, completion),
    Check("stream", "a complete streamed chat: text, finish_reason, usage, [DONE]", LOGS, stream),
    Check("refusal", "4xx with an error message for a chat whose messages are not a list", LOGS, refusal),
    Check(
        "first-token",
        "the first token within {ttft} s",
        "check that nothing else uses the endpoint (leviathan status), or raise smoke.max_ttft_s",
        first_token,
    ),
    Check(
        "rate",
        "at least {rate} tokens/s",
        "check that nothing else uses the node's CPU and memory (leviathan logs, leviathan plan), or lower "
        "smoke.min_tokens_per_s",
        rate,
    ),
)


def _complete(asking: Asking) -> Said:
    body = {
        "model": asking.model,
        "prompt": asking.smoke.prompt,
        "max_tokens": asking.smoke.max_tokens,
        "temperature": 0,
    }
    return whole(asking.endpoint.post("/v1/completions", body), chat=False)


def _chat(asking: Asking) -> dict[str, Any]:
    return {
        "model": asking.model,
        "messages": [{"role": "user", "content": asking.smoke.prompt}],
        "max_tokens": asking.smoke.max_tokens,
        "temperature": 0,
    }


def _measured(asking: Asking) -> Measured:
    if asking.measured is None:
        raise Missing("there is no measurement, because the check stream failed")
    return asking.measured


def _loading(answer: Answer) -> str:
    """The load progress that the front reports, or an empty string."""
    try:
        report = json.loads(answer.body)
        if report["status"] == "ok":
            return ""
        left = f", about {report['estimate_seconds']:.0f} s left" if report.get("estimate_seconds") else ""
        detail = f" ({shown(str(report['detail']))})" if report.get("detail") else ""
        return shown(f"503, {report['status']}: {report['phase']}, {report['percent']:g} %{detail}{left}")
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return ""
