"""Writes KTransformers' rule file (`--optimize_config_path`) for a plan, for any number of GPUs.

Semantics, from `ktransformers/optimize/optimize.py` of 0.2.1.post1: for each module of the model, from the outside in,
the first rule applies whose `class` and `name` (a regular expression, searched) both match. A module without a rule
stays as it is, on cuda:0. `recursive: False` ends the descent. The rules are those of upstream's DeepSeek-V3 files, but
they name every module of a layer with the layer's device: upstream's multi-gpu-marlin file leaves norms on cuda:0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from leviathan_engine.gguf import Model
from leviathan_engine.model.shape import ModelShape

from .plan import Plan
from .vram import layer_linears, marlin_fits

Rule = dict[str, Any]
MODELING = "ktransformers.models.modeling_deepseek_v3"
OPERATORS = "ktransformers.operators"
OURS = "leviathan_operators.operators"


def rules(plan: Plan, model: Model, shape: ModelShape) -> list[Rule]:
    """Returns the rules as data, in order.

    The embedding is on the CPU, where the engine looks up tokens; norm is on the GPU of the last layer; lm_head is on
    the GPU that the plan chose. Linear layers with a shape that Marlin does not support get the plain torch kernel.
    """
    devices = {gpu.device: range(gpu.first_layer, gpu.last_layer + 1) for gpu in plan.gpus}
    plain = plain_linears(model, shape)
    out: list[Rule] = [_rule("^model\\.embed_tokens", None, "default", _on("cpu"))]
    for device, layers in devices.items():
        out += _layer_rules(device, _either(layers), plain, yarn=shape.yarn is not None)
    starts = {layers.start: device for device, layers in devices.items() if layers.start > 0}
    model_kwargs: Rule = {"per_layer_prefill_intput_threshold": 0}
    if starts:
        model_kwargs["transfer_map"] = starts
    last = plan.gpus[-1].device
    return [
        *out,
        _rule("^model$", None, f"{OPERATORS}.models.KDeepseekV2Model", model_kwargs),
        _rule("^model\\.norm$", None, "default", _on(last)),
        _rule("^lm_head$", None, "default", _on(plan.head_device)),
    ]


def rules_yaml(plan: Plan, model: Model, shape: ModelShape) -> str:
    """Returns the text of the rule file."""
    head = [f"# KTransformers 0.2.1.post1, {plan.model}: {shape.layers} layers, cache of {plan.cache_lens} tokens."]
    head += [f"# {gpu.device}: GPU {gpu.index}, layers {gpu.first_layer}-{gpu.last_layer}" for gpu in plan.gpus]
    return "\n".join([*head, *(line for rule in rules(plan, model, shape) for line in _yaml_rule(rule))]) + "\n"


def plain_linears(model: Model, shape: ModelShape) -> list[str]:
    """Returns the linear modules (without the layer's prefix) that Marlin does not support in some layer."""
    found: set[str] = set()
    for layer in range(shape.layers):
        for name, module in layer_linears(shape, layer).items():
            k, n = model.tensors[f"blk.{layer}.{name}.weight"].shape
            if not marlin_fits(k, n):
                found.add(module)
    return sorted(found)


def _layer_rules(device: str, layers: str, plain: Sequence[str], *, yarn: bool) -> list[Rule]:
    prefix = f"^model\\.layers\\.{layers}"
    rotary = f"{OPERATORS}.RoPE.YarnRotaryEmbeddingV3" if yarn else f"{OPERATORS}.RoPE.RotaryEmbeddingV3"
    linear, moe = f"{OPERATORS}.linear.KTransformersLinear", "leviathan_operators.operators.experts.HybridMoE"
    out = [_rule(f"{prefix}\\.", f"{MODELING}.DeepseekV3RotaryEmbedding", rotary, _on(device))]
    if plain:
        modules = "|".join(name.replace(".", "\\.") for name in plain)
        kernels = {"generate_op": "KLinearTorch", "prefill_op": "KLinearTorch"}
        out.append(_rule(f"{prefix}\\.({modules})$", "torch.nn.Linear", linear, _on(device) | kernels))
    kernels = {"generate_op": "KLinearMarlin", "prefill_op": "KLinearTorch"}
    experts = {
        "prefill_device": device,
        "prefill_op": "KExpertsTorch",
        "generate_device": "cpu",
        "generate_op": "KExpertsCPU",
        "out_device": device,
    }
    experts_class = f"{OPERATORS}.experts.KTransformersExperts"
    return [
        *out,
        _rule(f"{prefix}\\.(?!self_attn\\.kv_b_proj)", "torch.nn.Linear", linear, _on(device) | kernels),
        _rule(f"{prefix}\\.mlp$", f"{MODELING}.DeepseekV3MoE", moe, _on(device)),
        _rule(f"{prefix}\\.mlp\\.gate$", f"{MODELING}.MoEGate", f"{OPERATORS}.gate.KMoEGate", _on(device)),
        _rule(f"{prefix}\\.mlp\\.experts$", None, experts_class, experts) | {"recursive": False},
        _rule(f"{prefix}\\.self_attn$", None, f"{OURS}.attention.ChunkedLatentAttention", _on(device)),
        _rule(f"{prefix}(\\.|$)", None, "default", _on(device)),
    ]


def _rule(name: str, of_class: str | None, replacement: str, kwargs: Mapping[str, Any]) -> Rule:
    match = {"name": name} | ({"class": of_class} if of_class else {})
    return {"match": match, "replace": {"class": replacement, "kwargs": dict(kwargs)}}


def _on(device: str) -> Rule:
    return {"generate_device": device, "prefill_device": device}


def _either(layers: range) -> str:
    """Returns a regular expression for the numbers of a range, such as `([7-9]|[1-4][0-9]|5[0-3])`."""
    pieces: list[str] = []
    tens = range(layers.start // 10, (layers.stop - 1) // 10 + 1)
    full = [t for t in tens if t * 10 >= layers.start and t * 10 + 10 <= layers.stop and 0 < t < 10]
    for ten in tens:
        if ten in full:
            if ten == full[0]:
                pieces.append(f"[{full[0]}-{full[-1]}][0-9]" if len(full) > 1 else f"{ten}[0-9]")
            continue
        low, high = max(layers.start, ten * 10) % 10, min(layers.stop - 1, ten * 10 + 9) % 10
        digit = f"[{low}-{high}]" if low < high else str(low)
        pieces.append(f"{ten or ''}{digit}")
    return f"({'|'.join(pieces)})"


def _yaml_rule(rule: Rule) -> list[str]:
    lines = ["- match:", *_yaml_map(rule["match"], 4)]
    lines += ["  replace:", *_yaml_map({"class": rule["replace"]["class"]}, 4)]
    lines += ["    kwargs:", *_yaml_map(rule["replace"]["kwargs"], 6)]
    return lines + (["  recursive: False"] if rule.get("recursive") is False else [])


def _yaml_map(values: Mapping[Any, Any], indent: int) -> list[str]:
    """Writes strings in single quotes, in which YAML only escapes quotes; no string here has one."""
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{' ' * indent}{key}:", *_yaml_map(value, indent + 2)]
        else:
            lines.append(f"{' ' * indent}{key}: " + (f"'{value}'" if isinstance(value, str) else str(value)))
    return lines
