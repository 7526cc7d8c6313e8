"""Calls of random logits: each names a tool, follows its schema, and is found by the reader of the model's own form."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from constrained import Babbler, closed
from deepseek_templates import prompts

from leviathan_engine.front.api_error import ApiError
from leviathan_engine.front.generation.demand import Demand, demand_of
from leviathan_engine.front.generation.request import ChatPrompt, Form, GenerationRequest
from leviathan_engine.front.generation.tool_calls import CallArguments, CallBegin, Outside, ToolCallSplitter
from leviathan_engine.model.chat_prompt import Prompts
from leviathan_engine.model.grammar.refusal import Refusal
from leviathan_engine.model.grammar.vocabulary import Vocabulary
from leviathan_engine.model.tool_format import CALL_BEGIN, CALLS_BEGIN

ASK = ({"role": "user", "content": "x"},)
SCHEMAS: dict[str, Any] = {
    "weather": closed(city={"enum": ["Paris", "Rome"]}, days={"type": "integer", "minimum": 1, "maximum": 9}),
    "time.now": closed(zone={"type": "string", "maxLength": 9}),
}
NOT_DONE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}


@pytest.fixture(scope="module", params=["V3", "R1", "V3.1"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Prompts, Babbler]:
    folder: Path = tmp_path_factory.mktemp("model")
    made = prompts(request.param, folder)
    return made, Babbler(Vocabulary(folder), made.token_bytes, made.vocabulary)


def tools(strict: bool, schemas: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    functions = [{"name": name, "parameters": schema, "strict": strict} for name, schema in schemas.items()]
    return tuple({"type": "function", "function": function} for function in functions)


def demand(
    made: Prompts, forced: str | None, strict: bool = True, schemas: dict[str, Any] = SCHEMAS, **changes: Any
) -> tuple[Demand | None, str]:
    """What a request with these tools demands, and what its prompt holds of the call."""
    chat = ChatPrompt(ASK, tools(strict, schemas), forced_call=forced)
    _, talk = made.chat(chat, 4000)
    request = replace(GenerationRequest((chat,), "messages"), **changes)
    return demand_of(request, chat, talk, made), talk.opened


def calls(text: str, opened: str) -> tuple[list[tuple[str, Any]], str]:
    """The calls in an answer, and the text outside of them."""
    splitter = ToolCallSplitter(opened)
    names: list[str] = []
    arguments: list[str] = []
    outside = ""
    for found in [*splitter.push(text), *splitter.finish()]:
        if isinstance(found, CallBegin):
            names.append(found.name)
            arguments.append("")
        elif isinstance(found, CallArguments):
            arguments[-1] += found.text
        elif isinstance(found, Outside):
            outside += found.text
    return [(name, json.loads(text)) for name, text in zip(names, arguments, strict=True)], outside


def check(found: list[tuple[str, Any]]) -> None:
    """Every call follows its tool's schema."""
    for name, arguments in found:
        jsonschema.Draft202012Validator(SCHEMAS[name]).validate(arguments)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("forced", ["", "time.now"])
def test_forced_calls(model: tuple[Prompts, Babbler], forced: str, strict: bool, temperature: float) -> None:
    made, babbler = model
    wanted, opened = demand(made, forced, strict)
    assert wanted is not None
    assert wanted.options == {}
    grammar = babbler.composer.compose(json.loads(wanted.line))
    counts = set()
    for seed in range(4):
        tokens, ended = babbler.says(grammar, temperature, seed)
        assert ended, babbler.text(tokens)
        found, outside = calls(babbler.text(tokens), opened)
        check(found)
        counts.add(len(found))
        assert not outside
        assert not forced or {name for name, _ in found} == {forced}
    assert min(counts) >= 1


def test_one_call_where_there_may_be_no_more(model: tuple[Prompts, Babbler]) -> None:
    made, babbler = model
    wanted, opened = demand(made, "", parallel_calls=False)
    assert wanted is not None
    grammar = babbler.composer.compose(json.loads(wanted.line))
    for seed in range(4):
        found, _ = calls(babbler.text(babbler.says(grammar, 1.0, seed)[0]), opened)
        assert len(found) == 1


def test_a_strict_tool_binds_the_calls_that_the_model_chooses_to_make(model: tuple[Prompts, Babbler]) -> None:
    made, babbler = model
    wanted, opened = demand(made, None)
    assert wanted is not None
    assert not opened
    options = wanted.options
    assert (options["grammar_after"], options["grammar_bans"]) == (
        made.token_id(CALLS_BEGIN),
        [made.token_id(CALL_BEGIN)],
    )
    grammar = babbler.composer.compose(json.loads(wanted.line))
    given = {"grammar_after": options["grammar_after"], "grammar_bans": tuple(options["grammar_bans"])}
    first = [*made.plain_ids("I look.", 9), options["grammar_after"]]
    for temperature in (0.0, 1.0):
        tokens, ended = babbler.says(grammar, temperature, 1, first, **given)
        assert ended
        found, outside = calls(babbler.text(tokens), "")
        check(found)
        assert (len(found) >= 1, outside) == (True, "I look.")


def test_a_form_and_tools_together_give_either(model: tuple[Prompts, Babbler]) -> None:
    made, babbler = model
    wanted, _ = demand(made, None, strict=False, form=Form("choice", ["yes", "no"], "guided_choice"))
    assert wanted is not None
    grammar = babbler.composer.compose(json.loads(wanted.line))
    seen = set()
    for seed in range(12):
        found, outside = calls(babbler.text(babbler.says(grammar, 1.0, seed)[0]), "")
        check(found)
        seen.add("call" if found else outside)
    assert seen <= {"call", "yes", "no"}
    begin = made.token_id(CALLS_BEGIN)
    assert begin is not None
    found, _ = calls(babbler.text(babbler.says(grammar, 1.0, 1, [begin])[0]), "")
    assert found
    check(found)


def test_tools_alone_leave_the_answer_free(model: tuple[Prompts, Babbler]) -> None:
    assert demand(model[0], None, strict=False) == (None, "")


def test_a_schema_that_cannot_be_done(model: tuple[Prompts, Babbler]) -> None:
    """Strict: it is refused by name. Otherwise a forced call has any object as its arguments."""
    made, babbler = model
    strict, _ = demand(made, "", strict=True, schemas={"f": NOT_DONE})
    assert strict is not None
    with pytest.raises(Refusal, match=r"tools\[0\].function.parameters: uniqueItems is not supported"):
        babbler.composer.compose(json.loads(strict.line))
    loose, opened = demand(made, "", strict=False, schemas={"f": NOT_DONE})
    assert loose is not None
    grammar = babbler.composer.compose(json.loads(loose.line))
    found, _ = calls(babbler.text(babbler.says(grammar, 1.0, 1)[0]), opened)
    assert all(name == "f" and isinstance(arguments, dict) for name, arguments in found)


def test_strict_needs_the_token_that_begins_a_call(model: tuple[Prompts, Babbler]) -> None:
    class NoMarkers:
        """The tokenizer of a model that spells the markers of calls."""

        token_to_id = staticmethod(lambda _token: None)

        def __getattr__(self, name: str) -> Any:
            return getattr(model[0].tokenizer, name)

    made = replace(model[0], tokenizer=NoMarkers())
    with pytest.raises(ApiError, match="strict is not supported by this model"):
        demand(made, None)
