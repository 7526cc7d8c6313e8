"""What the engine says for the clients: answers, thoughts and tool calls in the form of V3.1's template."""

from leviathan_engine.model.tool_format import CALLS_BEGIN, CALLS_END, ToolFormat

PARIS = '{"city": "Paris"}'
USER = '{"name": "Ada", "age": 36}'


def call(name: str, *arguments: str, before: str = "") -> str:
    """A text with a call of the tool for each of the arguments."""
    return before + CALLS_BEGIN + "".join(ToolFormat.PLAIN.call(name, one) for one in arguments) + CALLS_END


def rest_of_call(arguments: str) -> str:
    """What comes after a call that the prompt has opened: its arguments and the end."""
    return call("x", arguments).split("<｜tool▁sep｜>")[1]
