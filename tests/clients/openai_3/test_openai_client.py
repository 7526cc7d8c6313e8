"""The openai package: what failed in the survey of clients (F1 to F17), and what worked."""

import json
from typing import Any

import openai
import pydantic
import pytest
import written_model
from answers import USER

ASK: list[Any] = [{"role": "user", "content": "2 + 2?"}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class User(pydantic.BaseModel):
    name: str
    age: int


@pytest.fixture
def client(server: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=60)


def test_the_version() -> None:
    assert openai.__version__.startswith("3.")


def test_chat_whole_streamed_and_raw(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="letters", messages=ASK)
    answer = raw.parse()
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Four.", "stop")
    assert answer._request_id == raw.headers["x-request-id"]  # F16
    stream = client.chat.completions.create(
        model="letters", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Four."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


@pytest.mark.parametrize("limit", [{"max_tokens": 32000}, {"max_completion_tokens": 32000}, {"max_tokens": -1}])
def test_limits_of_tokens(client: openai.OpenAI, limit: dict[str, int]) -> None:
    """F1, F2."""
    answer = client.chat.completions.create(model="letters", messages=ASK, **limit)  # type: ignore[call-overload]
    assert answer.choices[0].message.content == "Four."


def test_the_context_is_known(client: openai.OpenAI) -> None:
    (model,) = client.models.list()
    assert model.model_extra is not None
    assert model.model_extra["max_model_len"] == 8000
    assert client.models.retrieve("letters").id == "letters"


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "weather"}}])
def test_tools(client: openai.OpenAI, choice: Any) -> None:
    """F3, F4: a call, its result in the history, the answer. The model calls what it finds in the prompt."""
    first = client.chat.completions.create(model="letters", messages=ASK, tools=[WEATHER], tool_choice=choice)
    message = first.choices[0].message
    assert message.tool_calls is not None
    (found,) = message.tool_calls
    assert found.type == "function"
    assert (found.function.name, json.loads(found.function.arguments)) == ("weather", {"city": "Paris"})
    talk = [*ASK, message, {"role": "tool", "tool_call_id": found.id, "content": "18"}]
    second = client.chat.completions.create(model="letters", messages=talk, tools=[WEATHER])
    assert second.choices[0].message.content == "18 degrees."


def test_tool_choice_none(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="letters", messages=ASK, tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.content == "Four."


def test_tools_streamed(client: openai.OpenAI) -> None:
    """The client's own accumulator puts two calls together."""
    ask: Any = [{"role": "user", "content": "Paris and Rome?"}]
    with client.chat.completions.stream(model="letters", messages=ask, tools=[WEATHER]) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    assert message.content == "I look."
    assert message.tool_calls is not None
    assert [json.loads(one.function.arguments)["city"] for one in message.tool_calls] == ["Paris", "Rome"]


def test_structured_output(client: openai.OpenAI) -> None:
    """F5: json_object, json_schema by .parse(), and the same streamed."""
    whole = client.chat.completions.create(model="letters", messages=ASK, response_format={"type": "json_object"})
    assert json.loads(whole.choices[0].message.content or "") == json.loads(USER)
    parsed = client.chat.completions.parse(model="letters", messages=ASK, response_format=User)
    assert parsed.choices[0].message.parsed == User(name="Ada", age=36)
    with client.chat.completions.stream(model="letters", messages=ASK, response_format=User) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.parsed == User(name="Ada", age=36)


def test_a_strict_tool(client: openai.OpenAI) -> None:
    """pydantic_function_tool makes it strict; .parse() gives the arguments as an object."""
    tool = openai.pydantic_function_tool(User)
    answer = client.chat.completions.parse(model="letters", messages=ASK, tools=[tool])
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.parsed_arguments == User(name="Ada", age=36)


def test_choices_of_tokens(client: openai.OpenAI) -> None:
    """F6, F7: each is taken; and the first one changes the answer."""
    tokens = [True, False]
    answers = [
        client.chat.completions.create(
            model="letters",
            messages=ASK,
            n=2,
            logprobs=True,
            top_logprobs=2,
            presence_penalty=0.5,
            frequency_penalty=0.25,
            logit_bias={str(written_model.token("F")): -100} if banned else {"5": -100},
            seed=7,
            stop=["zz"],
            extra_body={"min_p": 0.1, "top_k": 3, "repetition_penalty": 1.5, "min_tokens": 2},
        )
        for banned in tokens
    ]
    other, same = ([choice.message.content for choice in answer.choices] for answer in answers)
    assert "Four." not in other
    assert same == ["Four."] * 2
    logprobs = answers[1].choices[1].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [len(token.top_logprobs) for token in logprobs.content] == [2] * 5


def test_fields_that_ask_for_nothing(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="letters",
        messages=ASK,
        metadata={"a": "b"},
        user="u",
        store=False,
        service_tier="auto",
        prompt_cache_key="k",
        safety_identifier="s",
        reasoning_effort="minimal",
        parallel_tool_calls=True,
    )
    assert answer.choices[0].message.content == "Four."


def test_completions(client: openai.OpenAI) -> None:
    """F8, F17."""
    answer = client.completions.create(model="letters", prompt=["a", "b"], logprobs=1, max_tokens=9)
    assert [choice.text for choice in answer.choices] == ["Four."] * 2
    echo = client.completions.create(model="letters", prompt="ab", echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in echo) == "abFour."


def test_thoughts(client: openai.OpenAI) -> None:
    """F13."""
    answer = client.chat.completions.create(
        model="letters", messages=ASK, extra_body={"chat_template_kwargs": {"thinking": True}}
    )
    message: Any = answer.choices[0].message
    assert (message.reasoning_content, message.content) == ("Hm.", "Four.")


def test_responses(client: openai.OpenAI) -> None:
    """F9: whole, streamed, a function, and an object."""
    assert client.responses.create(model="letters", input="2 + 2?").output_text == "Four."
    with client.responses.stream(model="letters", input="2 + 2?") as stream:
        stream.until_done()
        assert stream.get_final_response().output_text == "Four."
    tool: Any = {"type": "function", "strict": True, **WEATHER["function"]}
    item: Any = client.responses.create(model="letters", input="2 + 2?", tools=[tool]).output[0]
    assert (item.type, item.name, json.loads(item.arguments)) == ("function_call", "weather", {"city": "Paris"})
    parsed = client.responses.parse(model="letters", input="2 + 2?", text_format=User)
    assert parsed.output_parsed == User(name="Ada", age=36)


def test_what_is_not_there_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="letters", input="x")
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        client.responses.create(model="letters", input="x", previous_response_id="resp_1")
