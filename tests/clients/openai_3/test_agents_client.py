"""openai-agents: its default (Responses) and chat completions; a tool, a handoff, an output type, a stream."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)


class User(pydantic.BaseModel):
    name: str
    age: int


@function_tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"18 in {city}"


@pytest.fixture(params=["responses", "chat"])
def model(server: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    set_tracing_disabled(True)
    client = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    kind = OpenAIResponsesModel if request.param == "responses" else OpenAIChatCompletionsModel
    return kind(model="letters", openai_client=client)


def run(agent: Any) -> Any:
    return asyncio.run(Runner.run(agent, "Hello"))


def test_plain_and_streamed(model: Any) -> None:
    agent = Agent(name="a", instructions="Be short.", model=model)

    async def both() -> str:
        assert (await Runner.run(agent, "Hello")).final_output == "Four."
        running = Runner.run_streamed(agent, "Hello")
        events = [event async for event in running.stream_events()]
        assert len(events) > 5
        return str(running.final_output)

    assert asyncio.run(both()) == "Four."


def test_a_tool(model: Any) -> None:
    assert run(Agent(name="a", model=model, tools=[weather])).final_output == "18 degrees."


def test_a_handoff(model: Any) -> None:
    spanish = Agent(name="spanish", model=model)
    found = run(Agent(name="first", model=model, handoffs=[spanish]))
    assert (found.final_output, found.last_agent.name) == ("Hola.", "spanish")


def test_an_output_type(model: Any) -> None:
    assert run(Agent(name="a", model=model, output_type=User)).final_output == User(name="Ada", age=36)
