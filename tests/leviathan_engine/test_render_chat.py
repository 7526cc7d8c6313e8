"""Chats through the real templates of DeepSeek-V3, R1, V3.1 and R1-0528: thoughts, tools, forced calls, and BOS."""

from typing import Any

import pytest
from deepseek_templates import MODELS, template_source

from leviathan_engine.model.chat_template import ChatTemplate, TemplateRefusal, compile_template
from leviathan_engine.model.render_chat import UnknownTemplateValue, render_chat
from leviathan_engine.model.rendered_chat import ChatPrompt, RenderedChat
from leviathan_engine.model.tool_format import CALL_BEGIN, CALLS_BEGIN, SEP, ToolFormat, tool_format

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
ASK: dict[str, Any] = {"role": "user", "content": "Weather in Paris?"}
PARIS = '{"city": "Paris"}'
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
FENCED, PLAIN = ToolFormat.FENCED, ToolFormat.PLAIN
FORMATS = {"V3": FENCED, "R1": FENCED, "V3.1": PLAIN, "R1-0528": FENCED}


def template(model: str) -> ChatTemplate:
    return compile_template(template_source(model), {"bos_token": BOS, "eos_token": EOS})


def render(model: str, *messages: dict[str, Any], **changes: Any) -> RenderedChat:
    compiled = template(model)
    return render_chat(compiled, tool_format(compiled), ChatPrompt(messages, **changes))


def call(name: str = "weather", arguments: str = PARIS) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_form_of_calls_is_found(model: str) -> None:
    assert tool_format(template(model)) is FORMATS[model]


PROMPTS = [
    ("V3", {}, f"{ASSISTANT}", False),
    ("R1", {}, f"{ASSISTANT}<think>\n", True),
    ("V3.1", {}, f"{ASSISTANT}</think>", False),
    ("V3.1", {"thinking": True}, f"{ASSISTANT}<think>", True),
    ("V3.1", {"template_values": {"thinking": True}}, f"{ASSISTANT}<think>", True),
    ("V3.1", {"template_values": {"enable_thinking": True}}, f"{ASSISTANT}<think>", True),
    ("V3.1", {"effort": "high"}, f"{ASSISTANT}<think>", True),
    ("V3.1", {"effort": "none"}, f"{ASSISTANT}</think>", False),
    ("R1-0528", {}, f"{ASSISTANT}", False),
]


@pytest.mark.parametrize(("model", "changes", "end", "thinking"), PROMPTS)
def test_the_prompt_ends_as_the_template_has_it(model: str, changes: dict[str, Any], end: str, thinking: bool) -> None:
    rendered = render(model, ASK, **changes)
    assert rendered.text == f"{BOS}{USER}Weather in Paris?{end}"
    assert (rendered.thinking, rendered.tag) == (thinking, end.removeprefix(ASSISTANT) if thinking else "")
    assert rendered.missing == ()


@pytest.mark.parametrize(
    ("changes", "missing"), [({"thinking": False}, "thinking"), ({"effort": "low"}, "reasoning_effort")]
)
def test_a_wish_that_the_template_cannot_take_is_named(changes: dict[str, Any], missing: str) -> None:
    assert render("R1", ASK, **changes).missing == (missing,)


def test_a_value_that_the_template_does_not_read_is_refused() -> None:
    with pytest.raises(UnknownTemplateValue, match="colour is not a value that the model"):
        render("V3.1", ASK, template_values={"colour": 1})
    with pytest.raises(UnknownTemplateValue, match="enable_thinking is not a value that the model"):
        render("R1", ASK, template_values={"enable_thinking": True})


@pytest.mark.parametrize("model", sorted(MODELS))
def test_tools_are_described_where_the_template_leaves_them_out(model: str) -> None:
    text = render(model, ASK, tools=(WEATHER,)).text
    assert "### weather\nDescription: The weather of a city" in text
    assert '"city": {"type": "string"}' in text
    form = FORMATS[model].call("tool_call_name", "tool_call_arguments")
    assert form in text
    assert text.index("### weather") < text.index(USER)
    with_system = render(model, {"role": "system", "content": "Be brief."}, ASK, tools=(WEATHER,)).text
    assert with_system.startswith(f"{BOS}Be brief.\n\n## Tools\n")
    assert "### weather" not in render(model, ASK).text


def test_a_template_that_reads_tools_gets_them() -> None:
    source = (
        "{{ tools | tojson }}{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}"
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{{ c.function.name }}<｜tool▁sep｜>{{ c.function.arguments }}"
        "<｜tool▁call▁end｜>{% endfor %}{% endfor %}"
    )
    own = compile_template(source, {})
    assert render_chat(own, tool_format(own), ChatPrompt((ASK,), tools=(WEATHER,))).text.startswith(
        '[{"type": "function"'
    )


def test_a_template_without_calls_refuses_tools() -> None:
    plain = compile_template("{% for m in messages %}{{ m.content }}{% endfor %}", {})
    assert tool_format(plain) is None
    with pytest.raises(TemplateRefusal, match="tools cannot be used"):
        render_chat(plain, None, ChatPrompt((ASK,), tools=(WEATHER,)))


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("content", [None, "I look."])
def test_calls_and_results_of_the_history_are_in_the_prompt(model: str, content: str | None) -> None:
    answer = {"role": "assistant", "content": content, "tool_calls": [call()]}
    result = {"role": "tool", "content": "18 degrees", "tool_call_id": "call_1"}
    text = render(model, ASK, answer, result, tools=(WEATHER,)).text
    assert FORMATS[model].call("weather", PARIS) in text
    assert "<｜tool▁output▁begin｜>18 degrees<｜tool▁output▁end｜>" in text
    assert (content or "") in text
    assert text.index(PARIS) < text.index("18 degrees")


def test_calls_that_a_template_loses_are_an_error() -> None:
    losing = compile_template("{% for m in messages %}{{ m.content or '' }}{% endfor %}", {})
    with pytest.raises(TemplateRefusal, match="leaves out the tool calls"):
        render_chat(losing, None, ChatPrompt(({"role": "assistant", "content": "x", "tool_calls": [call()]},)))


FORCED = [
    ("V3", "weather", f"{ASSISTANT}{CALLS_BEGIN}{CALL_BEGIN}function{SEP}weather\n```json\n"),
    ("V3", "", f"{ASSISTANT}{CALLS_BEGIN}{CALL_BEGIN}function{SEP}"),
    ("V3.1", "weather", f"{ASSISTANT}</think>{CALLS_BEGIN}{CALL_BEGIN}weather{SEP}"),
    ("V3.1", "", f"{ASSISTANT}</think>{CALLS_BEGIN}{CALL_BEGIN}"),
    ("R1", "", f"{ASSISTANT}<think></think>{CALLS_BEGIN}{CALL_BEGIN}function{SEP}"),
]


@pytest.mark.parametrize(("model", "name", "end"), FORCED)
def test_a_forced_call_is_opened_in_the_prompt(model: str, name: str, end: str) -> None:
    rendered = render(model, ASK, tools=(WEATHER,), forced_call=name)
    assert rendered.text.endswith(f"{USER}Weather in Paris?{end}")
    assert end.endswith(rendered.opened)
    assert not rendered.thinking


def test_an_answer_that_is_begun_is_continued() -> None:
    rendered = render("V3", ASK, {"role": "assistant", "content": "It is "}, continues=True)
    assert rendered.text == f"{BOS}{USER}Weather in Paris?{ASSISTANT}It is"


SAME_AS_TRANSFORMERS = [
    ("{% if tools is not none %}[TOOLS]{% endif %}x", "x"),
    ("{% if documents is not none %}[DOCS]{% endif %}x", "x"),
    (
        "{{ {'b': 1, 'a': 'é'} | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}",
        '{"a":"\\u00e9","b":1}',
    ),
    ("a{% generation %}b{% endgeneration %}c", "abc"),
    ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
    ("{{ strftime_now('%%') }}", "%"),
]


@pytest.mark.parametrize(("source", "text"), SAME_AS_TRANSFORMERS)
def test_templates_render_as_transformers_renders_them(source: str, text: str) -> None:
    """The expected texts are what transformers 4.43.2 gives (break and strftime_now: 4.45 and later)."""
    assert compile_template(source, {}).render([ASK]) == text


def test_what_a_template_raises_is_its_refusal() -> None:
    for source in ("{{ raise_exception('no') }}", "{{ 1 / 0 }}", "{{ messages[5].content.x }}", "{{ 'a' + 1 }}"):
        with pytest.raises(TemplateRefusal):
            compile_template(source, {}).render([ASK])
