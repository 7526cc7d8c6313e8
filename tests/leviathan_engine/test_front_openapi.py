"""The front against its own OpenAPI document: schemathesis makes requests from it and judges the answers by it."""

from typing import Any

import httpx
import pytest
import schemathesis
from front_process import FrontProcess
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

OPERATIONS = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/api/chat"),
    ("POST", "/api/generate"),
    ("POST", "/api/show"),
    ("GET", "/api/tags"),
    ("GET", "/api/ps"),
    ("GET", "/api/version"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/apply-template"),
}
#: Requests that follow the document, and those that break it, which no GET can (a test below says why).
CASES = [
    (method, path, mode)
    for method, path in sorted(OPERATIONS)
    for mode in ("positive", "negative")
    if (method, mode) != ("GET", "negative")
]
JUDGED = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
# What the document allows is answered, and nothing else; but for what a schema cannot say:
# the model's template and context, fields that do not go together, and a pattern that Python reads with a line end.
STRICT = [checks.positive_data_acceptance, checks.negative_data_rejection]
OF_THE_MODEL = (
    "chat_template_refuses",
    "unknown_template_value",
    "context_length_exceeded",
    "body_too_large",
    "invalid_combination",
    "unsupported_grammar",
    "invalid_tool_name",
    "invalid_token_id",
    "no_fim_tokens",
)


def code_of(body: Any) -> Any:
    """The code of an error; Ollama's error is a string, with the code next to it."""
    return body["code"] if isinstance(body["error"], str) else body["error"]["code"]


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_answers_are_what_the_document_says(front: FrontProcess, method: str, path: str, mode: str) -> None:
    schema = schemathesis.openapi.from_url(front.url + "/openapi.json")
    operation = schema[path][method]
    codes: list[int] = []

    @settings(
        max_examples=60, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    def judge(case: schemathesis.Case) -> None:
        answer = case.call(timeout=60)
        codes.append(answer.status_code)
        refused = answer.status_code in (400, 413) and code_of(answer.json()) in OF_THE_MODEL
        case.validate_response(answer, checks=[*JUDGED, *([] if refused else STRICT)])

    judge()
    if mode == "positive" and path != "/v1/models/{name}":
        assert 200 in codes
    elif mode == "negative":
        assert 400 in codes


def test_the_document_names_every_route(front: FrontProcess) -> None:
    document = httpx.get(front.url + "/openapi.json").json()
    named = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert named == OPERATIONS
    for method, path in OPERATIONS:
        assert httpx.request(method, front.url + path, content=b"").status_code != 405
    assert httpx.get(front.url + "/v1/chat/completions").status_code == 405


def test_no_get_can_break_the_document(front: FrontProcess) -> None:
    """The reason why CASES has none: a GET has no body, and no parameter but a piece of the path, of any text."""
    document = httpx.get(front.url + "/openapi.json").json()
    gets = {path: item["get"] for path, item in document["paths"].items() if "get" in item}
    assert not [path for path, get in gets.items() if "requestBody" in get]
    parameters = [(path, each) for path, get in gets.items() for each in get.get("parameters", [])]
    assert [(path, each["in"]) for path, each in parameters] == [("/v1/models/{name}", "path")]
    # An empty name is another path, so it cannot be sent.
    assert parameters[0][1]["schema"] == {"type": "string", "minLength": 1}


def test_the_judge_sees_an_answer_that_is_not_in_the_document(front: FrontProcess) -> None:
    """The control: the same checks fail when the document is made untrue."""
    document = httpx.get(front.url + "/openapi.json").json()
    del document["paths"]["/health"]["get"]["responses"]["200"]
    case = schemathesis.openapi.from_dict(document)["/health"]["GET"].Case()
    answer = case.call(base_url=front.url, timeout=60)
    with pytest.raises(FailureGroup, match="Undocumented status code"):
        case.validate_response(answer, checks=JUDGED)
