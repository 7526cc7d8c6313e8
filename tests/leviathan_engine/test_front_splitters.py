"""The splitters of thoughts and tool calls: recorded outputs of DeepSeek's formats, cut in every way."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leviathan_engine.front.generation.events import Part
from leviathan_engine.front.generation.reasoning import ReasoningSplitter
from leviathan_engine.front.generation.tool_calls import CallArguments, CallBegin, Outside, ToolCallSplitter

B, E, CB, CE, S = (
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
)
PARIS, ROME = '{"city": "Paris"}', '{\n  "city": "Rome",\n  "note": "a ``` b"\n}'


def cuts(text: str, places: list[int]) -> list[str]:
    """`text` in pieces, cut at `places`."""
    ends = sorted({place for place in places if place < len(text)})
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


def thoughts(pieces: list[str], *, inside: bool) -> tuple[str, str]:
    splitter = ReasoningSplitter(inside=inside)
    out = [found for piece in pieces for found in splitter.push(piece)] + splitter.finish()
    assert all(text for _part, text in out)
    parts = {part: "".join(text for where, text in out if where is part) for part in Part}
    return parts[Part.REASONING], parts[Part.CONTENT]


def thoughts_plain(text: str, *, inside: bool) -> tuple[str, str]:
    """The reference: one regular expression over the whole text."""
    opened = re.match(r"\s*<think>", text)
    if not inside and not opened:
        return "", text
    body = text if inside else text[opened.end() if opened else 0 :]
    thought, _close, content = body.partition("</think>")
    return thought.strip(), content.lstrip()


THOUGHTS = [
    (True, "I reason.</think>The answer is 4.", "I reason.", "The answer is 4."),
    (True, "\nI reason.\n</think>\n\nFour.\n", "I reason.", "Four.\n"),
    (False, "<think>\nfirst\n\nsecond\n</think>\n\nFour.", "first\n\nsecond", "Four."),
    (False, "Four. <think> is a tag </think>.", "", "Four. <think> is a tag </think>."),
    (False, "\n  Four.", "", "\n  Four."),
    (True, "a < b, a </ b, cut off", "a < b, a </ b, cut off", ""),
    (True, "</think>\n\nFour.", "", "Four."),
    (False, "<think>a</think>b</think>c", "a", "b</think>c"),
    (False, "  <thin", "", "  <thin"),
    (True, "a </thi", "a </thi", ""),
]


@pytest.mark.parametrize(("inside", "text", "thought", "content"), THOUGHTS)
def test_a_thought_is_split_from_the_answer_wherever_it_is_cut(
    inside: bool, text: str, thought: str, content: str
) -> None:
    assert thoughts_plain(text, inside=inside) == (thought, content)
    for at in range(len(text)):
        for to in range(at, len(text)):
            assert thoughts(cuts(text, [at, to]), inside=inside) == (thought, content)
    assert thoughts([*text], inside=inside) == (thought, content)


@given(st.text("<think/> a\n", max_size=40), st.lists(st.integers(0, 40), max_size=12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_is_split_as_the_plain_way_does(text: str, places: list[int], inside: bool) -> None:
    assert thoughts(cuts(text, places), inside=inside) == thoughts_plain(text, inside=inside)


def test_a_thought_is_given_out_as_it_comes() -> None:
    """Not all at its end: that is what streaming is for."""
    splitter = ReasoningSplitter(inside=True)
    assert splitter.push("one ") == [(Part.REASONING, "one")]
    assert splitter.push("two <") == [(Part.REASONING, " two")]
    assert splitter.thinking
    assert splitter.push("/think>x") == [(Part.CONTENT, "x")]
    assert not splitter.thinking


Calls = tuple[str, list[tuple[str, str]]]


def calls(pieces: list[str], opened: str = "") -> Calls:
    splitter = ToolCallSplitter(opened)
    found = [one for piece in pieces for one in splitter.push(piece)] + splitter.finish()
    out: list[tuple[str, str]] = []
    for one in found:
        if isinstance(one, CallBegin):
            out.append((one.name, ""))
        elif isinstance(one, CallArguments):
            assert one.text
            out[-1] = (out[-1][0], out[-1][1] + one.text)
    return "".join(one.text for one in found if isinstance(one, Outside)), out


def fenced(name: str, arguments: str) -> str:
    """A call of V3, V3-0324, R1 and R1-0528, as their templates render one."""
    return f"{CB}function{S}{name}\n```json\n{arguments}\n```{CE}"


CALLS: list[tuple[str, str, str, list[tuple[str, str]]]] = [
    ("V3: one", f"{B}{fenced('weather', PARIS)}{E}", "", [("weather", PARIS)]),
    (
        "V3: two, with text before",
        f"I look.\n\n{B}{fenced('weather', PARIS)}\n{fenced('weather', ROME)}{E}",
        "I look.",
        [("weather", PARIS), ("weather", ROME)],
    ),
    (
        "V3.1: two",
        f"{B}{CB}weather{S}{PARIS}{CE}{CB}time{S}{{}}{CE}{E}",
        "",
        [("weather", PARIS), ("time", "{}")],
    ),
    ("V3.1: without arguments", f"{B}{CB}time{S}{CE}{E}\n", "", [("time", "{}")]),
    ("V3.1: a function named function", f"{B}{CB}function{S}{PARIS}{CE}{E}", "", [("function", PARIS)]),
    ("V3.1: backticks in a string", f'{B}{CB}say{S}{{"t": "```"}}{CE}{E}', "", [("say", '{"t": "```"}')]),
    ("R1: without the opening of all calls", f"Now.{fenced('weather', PARIS)}", "Now.", [("weather", PARIS)]),
    ("R1: no language after the fence", f"{B}{CB}function{S}w\n```\n{PARIS}\n```{CE}{E}", "", [("w", PARIS)]),
    ("R1: no fence", f"{B}{CB}function{S}w\n{PARIS}{CE}{E}", "", [("w", PARIS)]),
    ("a call that is cut off", f'{B}{CB}weather{S}{{"city": "Pa', "", [("weather", '{"city": "Pa')]),
    ("a fenced call that is cut off", f'{B}{CB}function{S}w\n```json\n{{"city"', "", [("w", '{"city"')]),
    ("no call", "a <｜tool is nothing, b", "a <｜tool is nothing, b", []),
    ("a header without a separator", f"{B}{CB}weather{CE}{E}", f"{CB}weather{CE}", []),
    ("calls that never begin", f"{B}sorry", "sorry", []),
    ("text after the calls", f"{B}{CB}t{S}{{}}{CE}{E} so", " so", [("t", "{}")]),
]


@pytest.mark.parametrize(("text", "outside", "found"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_calls_are_found_wherever_the_text_is_cut(text: str, outside: str, found: list[tuple[str, str]]) -> None:
    assert calls([text]) == (outside, found)
    for at in range(len(text)):
        assert calls(cuts(text, [at])) == (outside, found), at
    for size in (1, 2, 3, 5, 7):
        assert calls([text[i : i + size] for i in range(0, len(text), size)]) == (outside, found), size


MARKS = st.sampled_from([B, E, CB, CE, S, "function", "\n```json\n", "\n```", "w", "{", "}", " ", "\n", "<｜tool", "`"])


@given(st.lists(MARKS, max_size=14).map("".join), st.lists(st.integers(0, 120), max_size=30))
@settings(max_examples=400, deadline=None)
def test_the_cuts_change_nothing_in_any_text(text: str, places: list[int]) -> None:
    assert calls(cuts(text, places)) == calls([text])


@pytest.mark.parametrize("opened", [f"{B}{CB}", f"{B}{CB}function{S}", f"{B}{CB}function{S}weather\n```json\n"])
def test_a_call_that_the_prompt_opened(opened: str) -> None:
    whole = f"{B}{fenced('weather', PARIS)}{E}"
    assert whole.startswith(opened)
    assert calls([*whole[len(opened) :]], opened) == ("", [("weather", PARIS)])


def test_arguments_are_given_out_as_they_come() -> None:
    splitter = ToolCallSplitter()
    assert splitter.push(f"{B}{CB}w{S}") == [CallBegin("w")]
    assert splitter.push('{"a": 1') == [CallArguments('{"a": 1')]
    assert splitter.push("}" + CE[:3]) == [CallArguments("}")]
    assert splitter.push(CE[3:] + E) == []
