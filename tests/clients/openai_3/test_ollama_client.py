"""The ollama package."""

from typing import Any

import ollama
import pytest
from answers import USER

ASK = [{"role": "user", "content": "2 + 2?"}]


def weather(city: str) -> str:
    """Tells the weather.

    Args:
        city: its name
    """
    return f"18 in {city}"


@pytest.fixture
def client(server: Any) -> ollama.Client:
    return ollama.Client(host=server.url)


def test_the_model(client: ollama.Client) -> None:
    assert [model.model for model in client.list().models] == ["letters"]
    assert [model.model for model in client.ps().models] == ["letters"]
    assert client.show("letters").capabilities == ["completion", "tools", "thinking"]


def test_chat_and_generate(client: ollama.Client) -> None:
    assert client.chat("letters", ASK).message.content == "Four."
    assert "".join(part.message.content or "" for part in client.chat("letters", ASK, stream=True)) == "Four."
    assert client.generate("letters", "2 + 2?").response == "Four."


def test_tools_formats_and_thoughts(client: ollama.Client) -> None:
    """The package makes the tool's description from a Python function."""
    calls = client.chat("letters", ASK, tools=[weather]).message.tool_calls
    assert calls is not None
    assert [(one.function.name, one.function.arguments) for one in calls] == [("weather", {"city": "Paris"})]
    thought = client.chat("letters", ASK, think=True).message
    assert (thought.thinking, thought.content) == ("Hm.", "Four.")
    assert client.chat("letters", ASK, format="json").message.content == USER


def test_embeddings_are_not_there(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as error:
        client.embed("letters", "x")
    assert error.value.status_code == 404
