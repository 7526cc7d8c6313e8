"""instructor: every mode of the survey."""

from collections.abc import Iterable
from typing import Any

import instructor
import openai
import pydantic
import pytest


class User(pydantic.BaseModel):
    name: str
    age: int


@pytest.mark.parametrize(
    "mode", ["TOOLS", "TOOLS_STRICT", "PARALLEL_TOOLS", "JSON", "JSON_SCHEMA", "JSON_O1", "MD_JSON"]
)
def test_a_mode(server: Any, mode: str) -> None:
    raw = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    client: Any = instructor.from_openai(raw, mode=getattr(instructor.Mode, mode))
    ask: list[Any] = [{"role": "user", "content": "Who?"}]
    kind: Any = Iterable[User] if mode == "PARALLEL_TOOLS" else User
    found = client.chat.completions.create(model="letters", messages=ask, response_model=kind, max_retries=0)
    # instructor gives an object of a class of its own below User.
    (user,) = list(found) if mode == "PARALLEL_TOOLS" else [found]
    assert isinstance(user, User)
    assert (user.name, user.age) == ("Ada", 36)
