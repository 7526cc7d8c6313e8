"""Our rule file through KTransformers' own matcher, over its own DeepSeek-V3 model on torch's meta device.

Needs torch and ktransformers, so it runs where the engine is installed and is skipped elsewhere, unless
LEVIATHAN_ENGINE=required. No GPU and no weights are needed: modules without data are matched by class and name.
"""

import json
import os
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")
    pytest.importorskip("ktransformers")

from leviathan_engine.gguf import Model
from leviathan_engine.model.hf_config import config, register
from leviathan_engine.model.reference import DEEPSEEK_V3, q4_k_m
from leviathan_engine.model.tokenizer import Vocabulary
from leviathan_engine.plan import Gpu, Machine, Plan, Request, make_plan
from leviathan_engine.plan.machine import GIB, MB
from leviathan_engine.plan.rule_file import rules_yaml

MODEL: Model = q4_k_m()
CARDS = (Gpu(0, 97887 << 20, "96 GB"), Gpu(1, 32607 << 20, "32 GB"))
FOUR = tuple(Gpu(n, 24 << 30) for n in range(4))
CASES = {
    "96 GB + 32 GB": (CARDS, Request(8192, (90000 * MB, 30000 * MB))),
    "one card": (CARDS[:1], Request(8192)),
    "four cards": (FOUR, Request(2048, (22 << 30,) * 4)),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """DeepSeek-V3 with all its 61 layers, without data, from our config.json.

    It has 16 experts a layer and not 256: the rules end above them, and making 45,000 modules takes minutes.
    """
    folder = tmp_path_factory.mktemp("v3")
    vocabulary = Vocabulary([], [], [], bos=0, eos=1, pad=1, add_bos=True, add_eos=False)
    (folder / "config.json").write_text(
        json.dumps(config(replace(DEEPSEEK_V3, experts=16), vocabulary)), encoding="utf-8"
    )
    register()
    settings = import_module("transformers").AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with import_module("torch").device("meta"):
        return import_module("ktransformers.models.modeling_deepseek_v3").DeepseekV3ForCausalLM(settings)


def matched(network: Any, folder: Path, plan: Plan, text: str) -> dict[str, dict[str, Any]]:
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    out: dict[str, dict[str, Any]] = {}
    rule_list = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.FullLoader)
    import_module("ktransformers.optimize.optimize").gen_optimize_config(network, out, rule_list)
    return out


def misplaced(matches: dict[str, dict[str, Any]], plan: Plan) -> list[str]:
    found = []
    for name, entry in matches.items():
        layer = re.match(r"model\.layers\.(\d+)(\.|$)", name)
        if layer is None:
            continue
        device = next(g.device for g in plan.gpus if g.first_layer <= int(layer[1]) <= g.last_layer)
        kwargs = entry["kwargs"]
        if {kwargs["prefill_device"], kwargs.get("out_device", kwargs["generate_device"])} != {device}:
            found.append(name)
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_module_of_a_layer_is_on_its_device(network: Any, tmp_path: Path, case: str) -> None:
    gpus, request = CASES[case]
    plan = make_plan(MODEL, Machine(gpus, ram=512 * GIB), request)
    matches = matched(network, tmp_path, plan, rules_yaml(plan, MODEL, DEEPSEEK_V3))
    assert len(plan.gpus) == len(gpus)
    assert misplaced(matches, plan) == []
    # Every module that has weights of its own is among those that were matched, but for the experts' inner ones.
    own = {n for n, module in network.named_modules() if list(module.parameters(recurse=False))}
    assert {n for n in own if ".mlp.experts." not in n} <= set(matches)
    starts = {gpu.first_layer: gpu.device for gpu in plan.gpus[1:]}
    assert matches["model"]["kwargs"].get("transfer_map", {}) == starts
    assert matches["model.norm"]["kwargs"]["generate_device"] == plan.gpus[-1].device
    assert matches["lm_head"]["kwargs"]["generate_device"] == plan.head_device


def test_the_operators_exist_and_the_keys_are_ours(network: Any, tmp_path: Path) -> None:
    gpus, request = CASES["96 GB + 32 GB"]
    plan = make_plan(MODEL, Machine(gpus, ram=512 * GIB), request)
    matches = matched(network, tmp_path, plan, rules_yaml(plan, MODEL, DEEPSEEK_V3))
    for path in {entry["class"] for entry in matches.values()} - {"default"}:
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name), path
    for name, kind in network.named_modules():
        if type(kind).__name__ == "Linear" and name in matches and name not in ("lm_head",):
            wanted = "default" if name.endswith("kv_b_proj") else "ktransformers.operators.linear.KTransformersLinear"
            assert matches[name]["class"] == wanted, name
            assert f"{matches[name]['key']}.weight" in MODEL.tensors, name


def test_the_check_sees_a_module_on_the_wrong_card(network: Any, tmp_path: Path) -> None:
    gpus, request = CASES["96 GB + 32 GB"]
    plan = make_plan(MODEL, Machine(gpus, ram=512 * GIB), request)
    text = rules_yaml(plan, MODEL, DEEPSEEK_V3)
    cut = text.rindex("(\\.|$)'")
    spoiled = text[:cut] + text[cut:].replace("cuda:1", "cuda:0", 2)
    assert spoiled != text
    assert "model.layers.60.input_layernorm" in misplaced(matched(network, tmp_path, plan, spoiled), plan)
