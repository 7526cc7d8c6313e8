"""JSON Schema's own test suite: a schema is refused by a keyword's name, or all that it lets through validates.

The judge is jsonschema. LEVIATHAN_SCHEMA_SUITE is that package's sdist, which carries the suite
(nix/locks/sources.json). There is one token a byte, so that every way through a grammar is open.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
from constrained import Babbler, form, parsed
from front_process import write_folder

from leviathan_engine.model.chat_prompt import Prompts, load
from leviathan_engine.model.grammar.refusal import Refusal
from leviathan_engine.model.grammar.vocabulary import Vocabulary

SUITE = os.environ.get("LEVIATHAN_SCHEMA_SUITE", "")
pytestmark = pytest.mark.skipif(not SUITE, reason="needs LEVIATHAN_SCHEMA_SUITE, as in scripts/nix develop")
# By draft, its judge and how many of its schemas are done (of 366, 252 and 159 that are objects).
DRAFTS: dict[str, tuple[Any, int]] = {
    "draft2020-12": (jsonschema.Draft202012Validator, 163),
    "draft7": (jsonschema.Draft7Validator, 156),
    "draft4": (jsonschema.Draft4Validator, 118),
}
# A schema without $schema is read as 2020-12, where $ref does not switch off the keywords next to it.
OTHERWISE = {("draft7", "$ref prevents a sibling $id from changing the base uri")}
# What a refusal may say that has no keyword in it: no value follows the schema, or its own draft is not known.
OTHERS = ("schema is false", "is not in the schema itself")


@cache
def groups(draft: str) -> list[Any]:
    """The required parts of the suite; formats, which are optional there, are not asked for."""
    found: list[Any] = []
    with tarfile.open(SUITE) as archive:
        for member in archive:
            parts = member.name.split("/")
            if parts[1:4] == ["json", "tests", draft] and len(parts) == 5:
                content = archive.extractfile(member)
                assert content is not None
                found += json.load(content)
    return [group for group in found if isinstance(group["schema"], dict)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prompts, Babbler]:
    folder = write_folder(tmp_path_factory.mktemp("letters") / "hf")
    prompts = load(folder)
    return prompts, Babbler(Vocabulary(folder), prompts.token_bytes, prompts.vocabulary)


def grammars(babbler: Babbler, draft: str) -> Iterator[tuple[Any, str | Refusal]]:
    """Each group with its grammar, or why there is none."""
    for group in groups(draft):
        try:
            yield group, babbler.composer.compose(form("json", group["schema"]))
        except Refusal as refusal:
            yield group, refusal


def names_a_keyword(schema: Any, message: str) -> bool:
    """Whether a word of the message, but for its end (as "patternProperty" has it), is a key of the schema."""
    if isinstance(schema, list):
        return any(names_a_keyword(one, message) for one in schema)
    if not isinstance(schema, dict):
        return False
    return any(key.removesuffix("ies") in message or names_a_keyword(part, message) for key, part in schema.items())


@pytest.mark.parametrize("draft", DRAFTS)
def test_each_schema_is_done_or_refused_by_name(made: tuple[Prompts, Babbler], draft: str) -> None:
    done = 0
    for group, grammar in grammars(made[1], draft):
        if isinstance(grammar, str):
            done += 1
            continue
        words = grammar.message.removeprefix("field: ")
        assert words != grammar.message
        # A reference to the draft itself leads to the draft's keywords.
        known = [group["schema"], DRAFTS[draft][0].META_SCHEMA if "json-schema.org" in str(group["schema"]) else {}]
        assert any(one in words for one in OTHERS) or names_a_keyword(known, words), (words, group["schema"])
    assert done == DRAFTS[draft][1], f"{done} of {len(groups(draft))} schemas"


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_answer_validates(made: tuple[Prompts, Babbler], draft: str, temperature: float) -> None:
    babbler = made[1]
    for group, grammar in grammars(babbler, draft):
        if isinstance(grammar, Refusal) or (draft, group["description"]) in OTHERWISE:
            continue
        for seed in range(2):
            tokens, ended = babbler.says(grammar, temperature, seed)
            assert ended, (group["description"], babbler.text(tokens))
            DRAFTS[draft][0](group["schema"]).validate(parsed(babbler.text(tokens)))


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_suites_own_values(made: tuple[Prompts, Babbler], draft: str) -> None:
    """No grammar takes one that is invalid, and nearly all take those that are valid (not those in another order)."""
    prompts, babbler = made
    taken = valid = 0
    for group, grammar in grammars(babbler, draft):
        if isinstance(grammar, Refusal) or (draft, group["description"]) in OTHERWISE:
            continue
        for case in group["tests"]:
            matcher = babbler.vocabulary.matcher(grammar)
            text = json.dumps(case["data"], ensure_ascii=False)
            takes = all(map(matcher.consume_token, prompts.plain_ids(text, 100_000))) and matcher.is_accepting()
            assert case["valid"] or not takes, (group, case)
            taken += case["valid"] and takes
            valid += case["valid"]
    assert taken > 0.9 * valid > 100, f"{taken} of {valid}"


def test_nullable(made: tuple[Prompts, Babbler]) -> None:
    """OpenAPI 3.0's keyword, which JSON Schema does not know, wherever there is a schema and nowhere else."""
    schema = {
        "type": "object",
        "properties": {
            "nullable": {"type": "array", "items": {"type": "string", "enum": ["x"], "nullable": True}, "minItems": 2},
            "const": {"const": {"type": "string", "nullable": True}},
        },
        "required": ["nullable", "const"],
        "additionalProperties": False,
    }
    babbler = made[1]
    grammar = babbler.composer.compose(form("json", schema))
    values = [parsed(babbler.text(babbler.says(grammar, 1.0, seed)[0])) for seed in range(12)]
    assert {item for value in values for item in value["nullable"]} == {"x", None}
    assert all(value["const"] == {"type": "string", "nullable": True} for value in values)
