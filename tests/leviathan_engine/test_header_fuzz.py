"""Whatever a header says, the launcher's steps before the load give a plan and a folder, or one line; and soon.

test_gguf_fuzz damages bytes; here the bytes are in order and what they say is not: values of every type that the reader
can give, tensors of any shape and type, missing ones and strangers.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leviathan_engine.errors import EngineError
from leviathan_engine.gguf import GgmlType, Model, Tensor
from leviathan_engine.model.hf_config import build
from leviathan_engine.model.kv_b import needs_kv_b
from leviathan_engine.model.reference import TINY, q4_k_m
from leviathan_engine.model.shape import read_shape
from leviathan_engine.plan import Gpu, Machine, Request, make_plan
from leviathan_engine.plan.rule_file import rules, rules_yaml
from leviathan_engine.plan.table import render

KEYS: dict[str, Any] = {
    "general.name": "tiny",
    "general.sampling.temp": 0.5,
    "tokenizer.chat_template": "{{ messages }}",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "deepseek-v3",
    "tokenizer.ggml.tokens": ["<s>", "</s>", *"abcdefgh", "ab"],
    "tokenizer.ggml.token_type": [3, 3] + [1] * 9,
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 1,
    "tokenizer.ggml.add_bos_token": True,
}
MODELS = [q4_k_m(TINY, split_kv_b=split) for split in (False, True)]
MODELS = [replace(model, metadata={**model.metadata, **KEYS}) for model in MODELS]
MACHINE = Machine((Gpu(0, 8 << 30), Gpu(1, 8 << 30)), ram=64 << 30, disk_rate=1e9, ram_rate=1e11)
REQUESTS = st.sampled_from([Request(1024), Request(1024, (4 << 30, 4 << 30))])
NUMBERS = st.sampled_from([0, 1, 2, 255, 256, (1 << 31) - 1, 1 << 31]) | st.integers(-(1 << 63), (1 << 64) - 1)
PLAIN = st.booleans() | NUMBERS | st.floats() | st.text(st.characters(exclude_categories=()), max_size=6)
VALUES = PLAIN | st.sampled_from(["yarn", "none", "deepseek2", "llama"]) | st.lists(PLAIN, max_size=3)
NAMES = st.sampled_from(["blk.9999999999999999999.x.weight", "blk.\u0663.attn_norm.weight", "blk.1", "ffn_gate.weight"])
DIMS = st.lists(st.sampled_from([1, 2, 63, 64, 256, 512, 1 << 20, 1 << 40]), max_size=4).map(tuple)
# The deadline, in ms, finds what hangs; it is a clock that also runs while other work has the CPU.
SOON = settings(max_examples=250, deadline=20_000, suppress_health_check=list(HealthCheck))


def steps(model: Model, request: Request) -> bool:
    """Whether all of the steps were made; else they ended in one line."""
    try:
        shape = read_shape(model)
        folder = build(model)
        json.dumps([folder.config, folder.generation_config, folder.tokenizer, folder.tokenizer_config])
        needs_kv_b(model, shape)
        plan = make_plan(model, MACHINE, request)
        json.dumps(plan.to_dict())
        assert render(plan).startswith(f"{plan.model}: {plan.layers} layers, ")
        assert len(plan.model.splitlines()) == 1
        assert yaml.safe_load(rules_yaml(plan, model, shape)) == rules(plan, model, shape)
    except EngineError as err:
        assert "\n" not in err.line()  # noqa: PT017
        return False
    return True


def test_the_steps_are_made_without_the_damage() -> None:
    assert all(steps(model, Request(1024)) for model in MODELS)


@SOON
@given(data=st.data())
def test_any_value_of_any_key(data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(MODELS))
    metadata: dict[str, Any] = dict(model.metadata)
    for key in data.draw(st.lists(st.sampled_from(sorted(metadata)), min_size=1, max_size=3, unique=True)):
        metadata[key] = data.draw(VALUES)
        if data.draw(st.integers(0, 5)) == 0:
            del metadata[key]
    steps(replace(model, metadata=metadata), data.draw(REQUESTS))


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\n---\n", "\0", "\x1b", "\ud800"]
)
def test_a_name_cannot_write_rules(end: str) -> None:
    """A name with a line break would continue outside of its comment, and a rule's class is imported."""
    rule = "- match: {name: x}\n  replace: {class: os.system}"
    for name in (f"tiny{end}{rule}", f"tiny{end}", end, ""):
        model = replace(MODELS[0], metadata={**MODELS[0].metadata, "general.name": name})
        plan = make_plan(model, MACHINE, Request(1024))
        assert plan.model.isprintable()
        assert plan.model
        text = rules_yaml(plan, model, read_shape(model))
        assert yaml.safe_load(text) == rules(plan, model, read_shape(model))
        assert len(render(plan).splitlines()) == len(render(replace(plan, model="tiny")).splitlines())


@SOON
@given(data=st.data())
def test_any_tensor_of_any_shape(data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(MODELS))
    tensors = dict(model.tensors)
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)), min_size=1, max_size=3, unique=True)):
        old = tensors.pop(name)
        if data.draw(st.integers(0, 5)):
            new = data.draw(st.just(name) | NAMES)
            shape = data.draw(st.just(old.shape) | DIMS | st.just((*old.shape, 1)) | st.just(old.shape[:-1]))
            tensors[new] = Tensor(new, shape, data.draw(st.just(old.type) | st.sampled_from(GgmlType)), old.offset)
    steps(replace(model, tensors=tensors), data.draw(REQUESTS))
