"""langchain-openai: invoke, streams, batches, tools, structured output by each method, Responses, completions."""

from typing import Any

import pydantic
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI


class User(pydantic.BaseModel):
    """A person."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"18 in {city}"


def chat(server: Any, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(model="letters", base_url=server.url + "/v1", api_key="none", max_retries=0, **more)


def test_invoke_stream_and_batch(server: Any) -> None:
    model = chat(server)
    assert model.invoke("2 + 2?").content == "Four."
    parts = list(model.stream("2 + 2?", stream_usage=True))
    assert "".join(part.text for part in parts) == "Four."
    assert any(part.usage_metadata and part.usage_metadata["output_tokens"] == 5 for part in parts)
    assert [answer.content for answer in model.batch(["a", "b", "c"])] == ["Four."] * 3


def test_bind_tools(server: Any) -> None:
    model = chat(server).bind_tools([weather])
    first = model.invoke("Weather?")
    assert isinstance(first, AIMessage)
    assert [(one["name"], one["args"]) for one in first.tool_calls] == [("weather", {"city": "Paris"})]
    result = ToolMessage(weather.invoke(first.tool_calls[0]["args"]), tool_call_id=first.tool_calls[0]["id"])
    assert model.invoke([HumanMessage("Weather?"), first, result]).content == "18 degrees."


@pytest.mark.parametrize("method", ["function_calling", "json_mode", "json_schema"])
def test_with_structured_output(server: Any, method: Any) -> None:
    assert chat(server).with_structured_output(User, method=method).invoke("Who? JSON") == User(name="Ada", age=36)


def test_logprobs_and_n(server: Any) -> None:
    answer = chat(server, logprobs=True, top_logprobs=1).invoke("2 + 2?")
    assert len(answer.response_metadata["logprobs"]["content"]) == 5
    many = chat(server, n=2).generate([[HumanMessage("2 + 2?")]])
    assert [one.text for one in many.generations[0]] == ["Four."] * 2


def test_responses(server: Any) -> None:
    model = chat(server, use_responses_api=True)
    assert model.invoke("2 + 2?").text == "Four."
    assert "".join(part.text for part in model.stream("2 + 2?")) == "Four."
    called = model.bind_tools([weather]).invoke("Weather?")
    assert isinstance(called, AIMessage)
    assert [(one["name"], one["args"]) for one in called.tool_calls] == [("weather", {"city": "Paris"})]


def test_completions_of_two_prompts(server: Any) -> None:
    model = OpenAI(model="letters", base_url=server.url + "/v1", api_key="none", max_retries=0)
    found = model.generate(["a", "b"])
    assert [one[0].text for one in found.generations] == ["Four."] * 2
