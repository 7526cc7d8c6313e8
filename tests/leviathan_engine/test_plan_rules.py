"""The rule file puts every module of a layer on the layer's device, by the engine's own matching.

The matcher is `gen_optimize_config` of ktransformers/optimize/optimize.py (0.2.1.post1) over a module tree of names and
classes; tests/engine/test_rules_real_matcher.py runs the real one over the real model.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml

from leviathan_engine.gguf import Model
from leviathan_engine.model.reference import DEEPSEEK_V3, TINY, q4_k_m
from leviathan_engine.model.shape import ModelShape
from leviathan_engine.plan import Gpu, Machine, Plan, Request, make_plan
from leviathan_engine.plan.machine import GIB, MB
from leviathan_engine.plan.rule_file import _either, plain_linears, rules, rules_yaml

M = "ktransformers.models.modeling_deepseek_v3."
LINEAR, NORM = "torch.nn.Linear", M + "DeepseekV3RMSNorm"
CARDS = (Gpu(0, 97887 << 20), Gpu(1, 32607 << 20))
MACHINE = Machine(CARDS, ram=512 * GIB)
Config = dict[str, dict[str, Any]]


@dataclass
class Module:
    """A module's classes (its own and the one that it derives from) and its children by name."""

    classes: tuple[str, ...]
    children: dict[str, "Module"] = field(default_factory=dict)


def mlp() -> Module:
    linears = {name: Module((LINEAR,)) for name in ("gate_proj", "up_proj", "down_proj")}
    return Module((M + "DeepseekV3MLP",), linears | {"act_fn": Module(("torch.nn.SiLU",))})


def tree(shape: ModelShape) -> Module:
    """The modules that DeepseekV3ForCausalLM creates, two experts a layer."""
    rotary = (M + "DeepseekV3YarnRotaryEmbedding", M + "DeepseekV3RotaryEmbedding")
    names = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")

    def layer(index: int) -> Module:
        attention = {name: Module((LINEAR,)) for name in names}
        attention |= {name: Module((NORM,)) for name in ("q_a_layernorm", "kv_a_layernorm")}
        attention["rotary_emb"] = Module(rotary)
        experts = Module(("torch.nn.ModuleList",), {str(n): mlp() for n in range(2)})
        moe = {"experts": experts, "gate": Module((M + "MoEGate",)), "shared_experts": mlp()}
        body = mlp() if index < shape.dense_layers else Module((M + "DeepseekV3MoE",), moe)
        norms = {name: Module((NORM,)) for name in ("input_layernorm", "post_attention_layernorm")}
        return Module((M + "DeepseekV3DecoderLayer",), {"self_attn": Module(("A",), attention), "mlp": body} | norms)

    layers = Module(("torch.nn.ModuleList",), {str(n): layer(n) for n in range(shape.layers)})
    inner = {"embed_tokens": Module(("torch.nn.Embedding",)), "layers": layers, "norm": Module((NORM,))}
    return Module((M + "DeepseekV3ForCausalLM",), {"model": Module(("D",), inner), "lm_head": Module((LINEAR,))})


def match(module: Module, out: Config, rule_list: list[dict[str, Any]], prefix: str = "") -> None:
    """gen_optimize_config, line for line, with `in module.classes` for isinstance."""
    name = prefix[:-1]
    recursive = True
    for rule in rule_list:
        meta = rule["match"]
        if "class" in meta and meta["class"] not in module.classes:
            continue
        if "name" in meta and re.search(meta["name"], name) is None:
            continue
        new = rule["replace"]
        if name not in out:
            out[name] = {"class": new.get("class", "default"), "kwargs": copy.deepcopy(new.get("kwargs", {}))}
        else:
            if out[name]["class"] == "default":
                out[name]["class"] = new.get("class", "default")
            out[name]["kwargs"].update(copy.deepcopy(new.get("kwargs", {})))
        if "recursive" in rule:
            recursive = bool(rule["recursive"])
        break
    if name not in out:
        out[name] = {"class": "default", "kwargs": {"generate_device": "cuda:0", "prefill_device": "cuda:0"}}
    if recursive:
        for child, inner in module.children.items():
            match(inner, out, rule_list, prefix + child + ".")


def matched(text: str, shape: ModelShape) -> Config:
    out: Config = {}
    match(tree(shape), out, yaml.safe_load(text))
    return out


def misplaced(config: Config, plan: Plan) -> Iterator[str]:
    """Modules that are not where the plan wants them."""
    for name, entry in config.items():
        found = re.match(r"model\.layers\.(\d+)(\.|$)", name)
        if not found:
            continue
        device = next(g.device for g in plan.gpus if g.first_layer <= int(found[1]) <= g.last_layer)
        kwargs = entry["kwargs"]
        devices = {kwargs["prefill_device"], kwargs.get("out_device", kwargs["generate_device"])}
        if devices != {device}:
            yield name


def planned(model: Model, machine: Machine, request: Request, shape: ModelShape) -> tuple[Plan, str, Config]:
    plan = make_plan(model, machine, request)
    text = rules_yaml(plan, model, shape)
    return plan, text, matched(text, shape)


V3 = q4_k_m()
SPLIT = Request(8192, (90000 * MB, 30000 * MB))


def test_96_gb_and_32_gb() -> None:
    plan, text, config = planned(V3, MACHINE, SPLIT, DEEPSEEK_V3)
    assert list(misplaced(config, plan)) == []
    cut = plan.gpus[1].first_layer
    assert config["model"]["kwargs"] == {"per_layer_prefill_intput_threshold": 0, "transfer_map": {cut: "cuda:1"}}
    assert config["model.norm"]["kwargs"]["generate_device"] == "cuda:1"
    assert config["lm_head"]["kwargs"]["generate_device"] == "cuda:0"
    assert config["model.embed_tokens"]["kwargs"] == {"generate_device": "cpu", "prefill_device": "cpu"}
    assert f"# cuda:1: GPU 1, layers {cut}-60" in text


def test_every_module_gets_its_operator() -> None:
    _plan, _text, config = planned(V3, MACHINE, SPLIT, DEEPSEEK_V3)
    o = "ktransformers.operators."
    classes = {name: entry["class"] for name, entry in config.items()}
    for layer in (0, 2, 3, 60):
        at = f"model.layers.{layer}."
        assert classes[at + "self_attn"] == "leviathan_operators.operators.attention.ChunkedLatentAttention"
        assert classes[at + "self_attn.rotary_emb"] == o + "RoPE.YarnRotaryEmbeddingV3"
        assert classes[at + "self_attn.kv_b_proj"] == "default"
        assert classes[at + "input_layernorm"] == classes[at + "self_attn.q_a_layernorm"] == "default"
        for name in ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj"):
            assert classes[f"{at}self_attn.{name}"] == o + "linear.KTransformersLinear"
            assert config[f"{at}self_attn.{name}"]["kwargs"]["generate_op"] == "KLinearMarlin"
    assert classes["model.layers.2.mlp"] == "default"
    assert classes["model.layers.2.mlp.gate_proj"] == o + "linear.KTransformersLinear"
    assert classes["model.layers.3.mlp"] == "leviathan_operators.operators.experts.HybridMoE"
    assert classes["model.layers.3.mlp.gate"] == o + "gate.KMoEGate"
    assert classes["model.layers.3.mlp.shared_experts.up_proj"] == o + "linear.KTransformersLinear"
    assert classes["model.layers.3.mlp.experts"] == o + "experts.KTransformersExperts"
    kwargs = config["model.layers.60.mlp.experts"]["kwargs"]
    assert (kwargs["generate_device"], kwargs["generate_op"], kwargs["out_device"]) == ("cpu", "KExpertsCPU", "cuda:1")
    assert not any(name.startswith("model.layers.3.mlp.experts.") for name in config), "recursive: False"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_any_number_of_gpus(count: int) -> None:
    machine = replace(MACHINE, gpus=tuple(Gpu(n, 24 << 30) for n in range(count)))
    plan, _text, config = planned(V3, machine, Request(2048, (22 << 30,) * count), DEEPSEEK_V3)
    assert len(plan.gpus) == count
    assert list(misplaced(config, plan)) == []
    starts = {gpu.first_layer: gpu.device for gpu in plan.gpus[1:]}
    assert config["model"]["kwargs"].get("transfer_map", {}) == starts
    assert config["model.norm"]["kwargs"]["generate_device"] == plan.gpus[-1].device
    assert config["lm_head"]["kwargs"]["generate_device"] == plan.head_device
    assert config["model.layers.0.self_attn"]["kwargs"]["generate_device"] == "cuda:0"


def test_the_check_finds_what_upstreams_marlin_file_does() -> None:
    """There the last rule leaves the second card's norms and kv_b on cuda:0."""
    plan, text, _config = planned(V3, MACHINE, SPLIT, DEEPSEEK_V3)
    documents = yaml.safe_load(text)
    last_layers = [r for r in documents if r["match"]["name"].endswith(r"(\.|$)")][-1]
    last_layers["replace"]["kwargs"] = {"generate_device": "cuda:0", "prefill_device": "cuda:0"}
    found = set(misplaced(matched(yaml.safe_dump(documents), DEEPSEEK_V3), plan))
    assert {"model.layers.60.input_layernorm", "model.layers.60.self_attn.kv_b_proj"} <= found
    assert not any(name.startswith("model.layers.0.") for name in found)


def test_the_text_is_the_rules_as_yaml() -> None:
    plan, text, _config = planned(V3, MACHINE, SPLIT, DEEPSEEK_V3)
    assert yaml.safe_load(text) == rules(plan, V3, DEEPSEEK_V3)
    strings = [r["match"]["name"] for r in rules(plan, V3, DEEPSEEK_V3)]
    assert not any("'" in text for text in strings)  # single quotes in YAML need no escapes but their own


def test_shapes_that_marlin_refuses_get_the_torch_kernel() -> None:
    # A latent space of 32: kv_a has 96 outputs, not by 64. Everything else stays with Marlin.
    shape = replace(TINY, kv_lora=32)
    model = q4_k_m(shape)
    machine = Machine((Gpu(0, 8 << 30),), ram=64 * GIB)
    assert plain_linears(model, shape) == ["self_attn.kv_a_proj_with_mqa"]
    _plan, _text, config = planned(model, machine, Request(1024), shape)
    kernels = {n: e["kwargs"].get("generate_op") for n, e in config.items() if "KTransformersLinear" in e["class"]}
    assert kernels["model.layers.1.self_attn.kv_a_proj_with_mqa"] == "KLinearTorch"
    assert kernels["model.layers.1.self_attn.q_a_proj"] == "KLinearMarlin"
    assert plain_linears(V3, DEEPSEEK_V3) == []


def test_without_yarn_the_plain_rotary_embedding_is_used() -> None:
    shape = replace(TINY, yarn=None)
    _plan, _text, config = planned(q4_k_m(shape), Machine((Gpu(0, 8 << 30),), 64 * GIB), Request(1024), shape)
    assert config["model.layers.0.self_attn.rotary_emb"]["class"].endswith("RoPE.RotaryEmbeddingV3")


def test_numbers_of_a_range_and_no_others() -> None:
    ranges = [(0, 1), (0, 61), (3, 7), (7, 13), (9, 10), (9, 21), (10, 20), (12, 13), (5, 99), (95, 112), (0, 128)]
    for first, last in ranges:
        pattern = re.compile(rf"^model\.layers\.{_either(range(first, last))}\.")
        hits = [n for n in range(300) if pattern.search(f"model.layers.{n}.mlp")]
        assert hits == list(range(first, last)), (first, last, pattern.pattern)
    assert _either(range(7, 54)) == "([7-9]|[1-4][0-9]|5[0-3])"
