"""llama-index's OpenAILike: chat, completions, tools, structured answers."""

from typing import Any

import pydantic
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike


class User(pydantic.BaseModel):
    """A person."""

    name: str
    age: int


def weather(city: str) -> str:
    """Tells the weather."""
    return f"18 in {city}"


def model(server: Any, **more: Any) -> OpenAILike:
    given: dict[str, Any] = {"is_chat_model": True, "is_function_calling_model": True} | more
    return OpenAILike(model="letters", api_base=server.url + "/v1", api_key="none", max_retries=0, **given)


@pytest.mark.parametrize("chat", [True, False])
def test_chat_and_complete(server: Any, chat: bool) -> None:
    found = model(server, is_chat_model=chat)
    assert found.complete("2 + 2?").text == "Four."
    assert "".join(part.delta or "" for part in found.stream_complete("2 + 2?")) == "Four."
    if chat:
        assert found.chat([ChatMessage("2 + 2?")]).message.content == "Four."
        assert "".join(part.delta or "" for part in found.stream_chat([ChatMessage("2 + 2?")])) == "Four."


def test_chat_with_tools(server: Any) -> None:
    found = model(server)
    answer = found.chat_with_tools([FunctionTool.from_defaults(weather)], "Weather?")
    (one,) = found.get_tool_calls_from_response(answer)
    assert (one.tool_name, one.tool_kwargs) == ("weather", {"city": "Paris"})


def test_structured_answers(server: Any) -> None:
    wanted = User(name="Ada", age=36)
    assert model(server).structured_predict(User, PromptTemplate("Who?")) == wanted
    assert model(server).as_structured_llm(User).complete("Who?").raw == wanted
