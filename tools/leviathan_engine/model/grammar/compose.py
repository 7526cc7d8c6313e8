"""Composes a grammar for llguidance from a request's demands on the answer: a format of the text, tool calls, or both.

A demand is JSON:

- `answer`: null, or `kind` ("json", "regex", "choice", "grammar"), `value`, and `where`, the request's field.
- `calls`: null, or `fenced`, `tools` (each `name`, `parameters`, `strict`, `where`), `many` (whether several calls are
  allowed), and where the grammar begins: `opened`: inside the first call; `named`: after the name of the only tool;
  `lazy`: after the marker before all calls; otherwise before that marker.

The grammar is Lark with llguidance's `%json` (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md).
"""

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..tool_format import CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, FENCE, SEP, TYPE
from .nullable import without_nullable
from .refusal import Refusal, refusal
from .vocabulary import Vocabulary

Demand = Mapping[str, Any]
Schema = dict[str, Any]
HEAD = "%llguidance {}\n"
ANY_OBJECT: Schema = {"type": "object"}
# A bound, because a constrained model may write white space without end.
BLANKS = r"[ \n\r\t]{0,100}"
OPTIONS = "x-guidance"


class Composer:
    """Makes grammars for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def compose(self, demand: Demand) -> str:
        """Returns a grammar that compiles. Errors: Refusal."""
        answer, calls = demand["answer"], demand["calls"]
        if calls is None:
            grammar = self._answer(answer)
        elif answer is None or calls["opened"]:
            grammar = HEAD + self._calls(calls)
        else:
            text = self._answer(answer)
            self._check(text, answer["where"])
            either = {"lark_grammar": HEAD + self._calls(calls, "@answer | ")}
            grammar = json.dumps({"grammars": [either, {"name": "answer", "lark_grammar": text}]})
        self._check(grammar, (answer or {"where": "tools"})["where"])
        return grammar

    def _check(self, grammar: str, where: str) -> None:
        """Compiles a grammar, and takes its first step. Errors: Refusal."""
        matcher = self._vocabulary.matcher(grammar)
        if not matcher.is_error():
            matcher.compute_bitmask()
        if matcher.is_error():
            raise refusal(matcher.get_error(), where)

    def _answer(self, answer: Demand) -> str:
        """Returns the grammar of the answer's text, without calls."""
        kind, value, where = answer["kind"], answer["value"], answer["where"]
        if kind == "json":
            return HEAD + f"start: {schema_text(value, where)}\n"
        if kind == "regex":
            return (
                f"{HEAD}start: /{import_module('llguidance').regex_to_lark(value)}/\n"
                if value
                else HEAD + 'start: ""\n'
            )
        if kind == "choice":
            return HEAD + "start: " + " | ".join(map(literal, value)) + "\n"
        try:
            text = import_module("llguidance.gbnf_to_lark").any_to_lark(value)
        except Exception as err:  # the library raises Exception itself
            raise Refusal(
                f"{where}: expected a grammar in Lark, or in GBNF that can be converted: {str(err)[:200]}", where
            ) from err
        return str(text)

    def _calls(self, calls: Demand, other: str = "") -> str:
        """Returns the rules of the calls, without the part that is in the prompt."""
        begin, end, sep = map(self._marker, (CALL_BEGIN, CALL_END, SEP))
        kind = f"{literal(TYPE)} {sep} " if calls["fenced"] else ""
        many = f" (/\\n?/ {begin} {kind}call)*" if calls["many"] else ""
        first = "after_0" if calls["named"] else "call"
        rest = f"{first}{many} /\\n?/ {self._marker(CALLS_END)}"
        if calls["opened"]:
            start = rest
        elif calls["lazy"]:
            start = f"/\\n?/ {begin} {kind}{rest}"
        else:
            start = f"{other}{self._marker(CALLS_BEGIN)} /\\n?/ {begin} {kind}{rest}"
        rules = [f"start: {start}"]
        names = []
        for index, tool in enumerate(calls["tools"]):
            arguments = f"%json {self._arguments(tool)}"
            after = f"{arguments} {literal(chr(10) + FENCE)} {end}" if calls["fenced"] else f"{arguments} {end}"
            rules.append(f"after_{index}: {after}")
            name = literal(f"{tool['name']}\n{FENCE}json\n") if calls["fenced"] else f"{literal(tool['name'])} {sep}"
            names.append(f"{name} after_{index}")
        return "\n".join([*rules, "call: " + " | ".join(names)]) + "\n"

    def _arguments(self, tool: Demand) -> str:
        """Returns the schema of a tool's arguments; any object if it is unsupported and not strict. Errors: Refusal."""
        schema, where = dict(tool["parameters"] or {}), tool["where"]
        try:
            text = schema_text(schema if "type" in schema or "$ref" in schema else schema | ANY_OBJECT, where)
            self._check(f"{HEAD}start: {text}\n", where)
        except Refusal:
            if tool["strict"]:
                raise
            text = schema_text(ANY_OBJECT, where)
        return text.removeprefix("%json ")

    def _marker(self, text: str) -> str:
        """Returns a marker of the calls: the model's token, or its text if the model has no such token."""
        return literal(text) if self._vocabulary.special(text) is None else text


def literal(text: str) -> str:
    """Returns `text` as a literal in Lark."""
    return json.dumps(text, ensure_ascii=False)


def schema_text(schema: Schema, where: str) -> str:
    """Returns a JSON schema in Lark. Errors: Refusal for options of the library itself."""
    if OPTIONS in schema:
        raise Refusal(f"{where}: {OPTIONS} is not supported: leave it out", where)
    return "%json " + json.dumps(without_nullable(schema) | {OPTIONS: {"whitespace_pattern": BLANKS}})
