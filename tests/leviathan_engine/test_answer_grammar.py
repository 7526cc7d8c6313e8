"""Answers of random logits follow their grammar, with DeepSeek-V3.1's own tokenizer: the worker's masks, no torch."""

import json
import re
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
from constrained import Babbler, closed, form, parsed
from deepseek_templates import prompts

from leviathan_engine.model.chat_prompt import Prompts
from leviathan_engine.model.grammar.refusal import Refusal
from leviathan_engine.model.grammar.vocabulary import Vocabulary
from leviathan_engine.worker.answer_grammar import AnswerGrammar, Grammars
from leviathan_engine.worker.sampling_options import SamplingOptions
from leviathan_engine.worker.session import Unanswerable

TEMPERATURES = (0.0, 1.0)
NODE = {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}, "additionalProperties": False}
# By keyword, a schema that needs it.
DONE: dict[str, Any] = {
    "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}},
    "allOf": {"allOf": [closed(a={"type": "integer"}) | {"required": []}, {"required": ["a"]}]},
    "anyOf": {"anyOf": [{"type": "boolean"}, closed(b={"type": "null"})]},
    "const": {"const": {"a": [1, None, "é"]}},
    "enum": {"enum": ["cat", "dog", 3, False, None]},
    "exclusiveMaximum": {"type": "number", "exclusiveMaximum": 2, "exclusiveMinimum": 1.5},
    "format date-time": {"type": "string", "format": "date-time"},
    "format email": {"type": "string", "format": "email"},
    "format ipv4": {"type": "string", "format": "ipv4"},
    "format uuid": {"type": "string", "format": "uuid"},
    "items": {"type": "array", "items": {"enum": [1, 2]}},
    "maxItems": {"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 3},
    "maxLength": {"type": "string", "minLength": 3, "maxLength": 7},
    "maximum": {"type": "integer", "minimum": -3, "maximum": 17},
    "multipleOf": {"type": "integer", "multipleOf": 7},
    "oneOf of types": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    "pattern": {"type": "string", "pattern": "^[a-z]{2,5}-[0-9]+$"},
    "patternProperties": {
        "type": "object",
        "patternProperties": {"^n_": {"type": "integer"}},
        "additionalProperties": False,
    },
    "prefixItems": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    "$ref": {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    "required": closed(name={"type": "string"}, age={"type": "integer"}, tags={"type": "array", "items": {}}),
    "type list": {"type": ["null", "boolean", "number"]},
    "nothing": {},
}
# What JSON Schema knows and llguidance does not do, and the word that the refusal has.
REFUSED: list[tuple[str, Any]] = [
    ("not", {"not": {"type": "string"}}),
    ("uniqueItems", {"type": "array", "uniqueItems": True}),
    ("contains", {"type": "array", "contains": {"type": "integer"}}),
    ("propertyNames", {"type": "object", "propertyNames": {"pattern": "^a"}}),
    ("dependentRequired", {"dependentRequired": {"a": ["b"]}}),
    ("dependentSchemas", {"dependentSchemas": {"a": {"required": ["b"]}}}),
    ("unevaluatedProperties", {"type": "object", "unevaluatedProperties": False}),
    ("if, then", {"if": {"type": "string"}, "then": {"minLength": 2}}),
    ("$dynamicRef", {"$dynamicRef": "#x"}),
    ("oneOf", {"oneOf": [{"type": "integer"}, {"type": "number"}]}),
    ("format iri", {"type": "string", "format": "iri"}),
    ("$ref http://127.0.0.1:9/x.json is not in the schema itself", {"$ref": "http://127.0.0.1:9/x.json"}),
    ("$ref /$defs/none does not exist", {"$ref": "#/$defs/none"}),
    ("look-around", {"type": "string", "pattern": "^(?=a)b"}),
    ("Invalid type: strin", {"type": "strin"}),
    ("minLength (3) is greater than maxLength (1)", {"type": "string", "minLength": 3, "maxLength": 1}),
    ("x-guidance", {"x-guidance": {"lenient": True}, "uniqueItems": True}),
    ("nested too deeply", json.loads('{"items":' * 200 + "{}" + "}" * 200)),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prompts, Babbler]:
    folder = tmp_path_factory.mktemp("v31")
    made = prompts("V3.1", folder)
    return made, Babbler(Vocabulary(folder), made.token_bytes, made.vocabulary)


@pytest.fixture(scope="module")
def babbler(model: tuple[Prompts, Babbler]) -> Babbler:
    return model[1]


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("keyword", DONE)
def test_every_answer_validates(babbler: Babbler, keyword: str, temperature: float) -> None:
    schema = DONE[keyword]
    grammar = babbler.composer.compose(form("json", schema))
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for seed in range(3):
        tokens, ended = babbler.says(grammar, temperature, seed)
        assert ended, babbler.text(tokens)
        checker.validate(parsed(babbler.text(tokens)))


@pytest.mark.parametrize(("word", "schema"), REFUSED)
def test_what_cannot_be_done_is_refused_by_name(babbler: Babbler, word: str, schema: Any) -> None:
    with pytest.raises(Refusal) as caught:
        babbler.composer.compose(form("json", schema))
    assert caught.value.message.startswith("field: ")
    assert word in caught.value.message
    assert "start:" not in caught.value.message


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("regex", r"^(yes|no), [0-9]{3}/\d$", r"(yes|no), [0-9]{3}/\d"),
        ("choice", ["small", 'la"rge\n', "größer"], 'small|la"rge\n|größer'),
        ("grammar", 'root ::= "a"+ [0-9]{2} | "b" part\npart ::= "<" [x-z]* ">"', "a+[0-9]{2}|b<[x-z]*>"),
        ("grammar", 'start: NAME "=" /[0-9]{1,3}/\nNAME: /[a-z]{1,4}/', "[a-z]{1,4}=[0-9]{1,3}"),
    ],
)
def test_other_kinds(babbler: Babbler, kind: str, value: Any, wanted: str, temperature: float) -> None:
    grammar = babbler.composer.compose(form(kind, value))
    for seed in range(3):
        tokens, _ = babbler.says(grammar, temperature, seed, ends=())
        said = babbler.text(tokens)
        assert len(tokens) == 400 or re.fullmatch(wanted, said), said


@pytest.mark.parametrize(
    ("kind", "value", "word"),
    [
        ("regex", "a(", "unclosed group"),
        ("regex", "(?<!a)b", "look-around"),
        ("grammar", "root ::= missing", "'missing' not found"),
        ("grammar", "start: missing", "missing"),
        ("grammar", "hello", "expected a grammar in Lark, or in GBNF"),
        ("grammar", 'start: "a" <nonsense>', "unknown special token"),
    ],
)
def test_grammars_that_are_none(babbler: Babbler, kind: str, value: str, word: str) -> None:
    with pytest.raises(Refusal, match=word):
        babbler.composer.compose(form(kind, value))


def bits(mask: bytearray | None) -> set[int]:
    assert mask is not None
    return {8 * place + bit for place, byte in enumerate(mask) for bit in range(8) if byte >> bit & 1}


def only(made: Prompts, text: str) -> int:
    """The one token that is `text`."""
    token = made.token_id(text)
    assert token is not None
    return token


def follow(babbler: Babbler, grammar: str, ends: Sequence[int] = (1,), **options: Any) -> AnswerGrammar:
    return AnswerGrammar(babbler.start(grammar), SamplingOptions(grammar=grammar, **options), ends)


def test_the_grammar_begins_after_the_thought(model: tuple[Prompts, Babbler]) -> None:
    made, babbler = model
    close, blank = made.plain_ids("</think>\n\n", 9)
    grammar = babbler.composer.compose(form("choice", ["yes"]))
    opened = only(made, "<think>")
    tags: dict[str, Any] = {"think_open": opened, "think_close": close, "think_end": (close, blank)}
    yes = set(made.plain_ids("yes", 9))  # where the text is certain, only the tokenizer's own token may come
    following = follow(babbler, grammar, thinking=True, **tags)
    for token in made.plain_ids("I think so", 9):
        assert following.allowed() is None
        following.take(token)
    following.take(close)
    assert bits(following.allowed()) == yes | {blank}
    following.take(blank)
    assert bits(following.allowed()) == yes
    # A model that opens the thought itself may do so, first of all and once.
    following = follow(babbler, grammar, **tags)
    assert bits(following.allowed()) == yes | {opened}
    following.take(opened)
    assert following.allowed() is None
    assert not following.finished


def test_a_lazy_grammar_begins_with_its_token(model: tuple[Prompts, Babbler]) -> None:
    made, babbler = model
    grammar = babbler.composer.compose(form("choice", ["x"]))
    following = follow(babbler, grammar, grammar_after=5, grammar_bans=(7,))
    for token in (100, 200):
        assert (following.allowed(), list(following.bans)) == (None, [7])
        following.take(token)
    following.take(5)
    assert (bits(following.allowed()), following.bans) == ({made.token_id("x")}, ())


def test_the_end_may_come_when_the_grammar_is_complete(model: tuple[Prompts, Babbler]) -> None:
    made, babbler = model
    grammar = babbler.composer.compose(form("regex", "ab?"))
    a, b = only(made, "a"), only(made, "b")
    following = follow(babbler, grammar, (1, 50))
    assert bits(following.allowed()) == {a, made.token_id("ab")}
    following.take(a)
    assert bits(following.allowed()) == {b, 1, 50}
    # min_tokens keeps the end out as long as something else may come; a complete grammar ends in any case.
    assert bits(following.allowed(early=True)) == {b}
    following.take(b)
    assert following.finished
    assert bits(following.allowed(early=True)) == {1, 50}
    # ignore_eos: no token ends the answer, the grammar's own end does.
    following = follow(babbler, grammar, ())
    following.take(a)
    assert bits(following.allowed()) == {b}
    following.take(b)
    assert following.finished


def test_a_token_that_the_grammar_does_not_allow_is_an_error(babbler: Babbler) -> None:
    following = follow(babbler, babbler.composer.compose(form("choice", ["x"])))
    with pytest.raises(Unanswerable, match="cannot apply the grammar"):
        following.take(100)


def test_compiled_grammars_are_kept_and_each_answer_has_its_own(model: tuple[Prompts, Babbler], tmp_path: Any) -> None:
    made, babbler = model
    prompts("V3.1", tmp_path)
    grammars = Grammars(tmp_path)
    grammar = babbler.composer.compose(form("choice", ["xy"]))
    first, second = (AnswerGrammar(grammars.start(grammar), SamplingOptions(), (1,)) for _ in range(2))
    first.take(made.plain_ids("xy", 2)[0])
    assert first.finished
    assert not second.finished
    assert made.plain_ids("xy", 2)[0] in bits(second.allowed())
