"""Norms and rotary angles with fewer kernels: against upstream's own modules, and in the real engine.

The engine runs in a process of its own (this file as a script).
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import engine_process
import pytest
import torch
from ktransformers.models.modeling_deepseek_v3 import DeepseekV3RMSNorm

from leviathan_operators.operators import fewer_kernels
from leviathan_operators.reference import norm

UPSTREAM = DeepseekV3RMSNorm.forward


@pytest.fixture(autouse=True)
def _upstreams_norm() -> None:
    DeepseekV3RMSNorm.forward = UPSTREAM


def inputs(width: int, dtype: torch.dtype, tokens: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(width)
    hidden = torch.randn(1, tokens, width, generator=generator) * 30
    hidden[0, 0, 0] = 1e4  # an outlier, as hidden states have them
    return hidden.to(dtype), (1 + 0.1 * torch.randn(width, generator=generator)).to(dtype)


@pytest.mark.parametrize("width", [512, 1536, 7168])
def test_the_reference_against_float64(width: int) -> None:
    hidden, weight = inputs(width, torch.float32)
    wide = hidden.double()
    wanted = weight.double() * wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    assert float((norm.rms_norm(hidden, weight, 1e-6) - wanted).norm() / wanted.norm()) < 1e-6


@pytest.mark.parametrize("width", [512, 1536, 7168])
def test_the_norm_is_upstreams(width: int) -> None:
    """In bfloat16 equal but where the two sums fall on different sides of a rounding: one value in some thousands."""
    hidden, weight = inputs(width, torch.bfloat16)
    module = DeepseekV3RMSNorm(width).bfloat16()
    module.weight.data = weight
    wanted = module(hidden)
    assert torch.equal(norm.rms_norm(hidden, weight, 1e-6), wanted)
    got = fewer_kernels.rms_norm(hidden, weight, 1e-6)
    assert got.dtype == torch.bfloat16
    assert float((got != wanted).float().mean()) < 0.001
    assert torch.allclose(got.float(), wanted.float(), rtol=2**-7, atol=0)
    assert not torch.allclose(fewer_kernels.rms_norm(hidden, weight + 0.1, 1e-6).float(), wanted.float(), rtol=2**-7)


def test_the_models_norms_use_it() -> None:
    model = torch.nn.Sequential(DeepseekV3RMSNorm(512), torch.nn.Linear(2, 2), DeepseekV3RMSNorm(512)).bfloat16()
    hidden, _weight = inputs(512, torch.bfloat16)
    before = model[0](hidden)
    assert fewer_kernels.norms_in_two_kernels(model) == 2
    assert DeepseekV3RMSNorm.forward is not UPSTREAM
    assert torch.allclose(model[0](hidden).float(), before.float(), rtol=2**-7, atol=0)


class Rotary(torch.nn.Module):
    """Counts its calls; angles are positions times 1."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.inv_freq, self.calls = torch.ones(1, device=device), 0

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        angles = position_ids[:, :, None].to(x.dtype)
        return angles.cos(), angles.sin()


def test_layers_of_a_device_share_the_angles() -> None:
    """Two cards, three layers on the first and two on the second; each pass computes twice, with its own positions."""
    rotaries = [Rotary(device) for device in ("cpu", "cpu", "cpu", "meta", "meta")]
    layers = [SimpleNamespace(self_attn=SimpleNamespace(rotary_emb=rotary)) for rotary in rotaries]
    assert fewer_kernels.angles_once(SimpleNamespace(model=SimpleNamespace(layers=layers))) == 3
    x = torch.zeros(1, dtype=torch.float32)
    for positions in (torch.arange(5)[None], torch.tensor([[5]]), torch.tensor([[6]])):
        wanted = positions[:, :, None].float()
        for rotary in rotaries:
            cos, sin = rotary(x, positions)
            assert torch.equal(cos, wanted.cos())
            assert torch.equal(sin, wanted.sin())
    assert [rotary.calls for rotary in rotaries] == [3, 0, 0, 3, 0]


def test_a_layer_out_of_turn_is_an_error() -> None:
    shared = fewer_kernels.SharedAngles(Rotary("cpu"))
    with pytest.raises(RuntimeError, match="before the first layer"):
        shared.again(torch.zeros(1), torch.zeros(1, 1))
    shared.first(torch.zeros(1), torch.zeros(1, 4))
    with pytest.raises(RuntimeError, match="before the first layer"):
        shared.again(torch.zeros(1), torch.zeros(1, 1))


PROMPT, STEPS = 40, 3
# bfloat16's rounding of a hidden state, here and there, over four layers.
LIMIT = 2e-2


def test_the_engines_logits_and_operators(home: Path, tmp_path: Path) -> None:
    """A prompt and three steps of the tiny model, with and without; and a step's operators, counted."""
    folder = tmp_path / "models"
    folder.mkdir()
    import_module("test_gguf_alone").write_model(folder / "tiny.gguf", split_kv_b=True)
    argv = [sys.executable, str(Path(__file__).resolve()), str(tmp_path)]
    env = engine_process.environment(home)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["worst"] < LIMIT, found
    assert found["likeliest_differ"] == 0, found
    # Four layers: three of them compute no angles, and no norm is more than it was.
    assert found["operators"] <= found["operators_upstream"] - 3 * 8, found


def operators(engine: Any) -> int:
    """ATen operators of a decode step, views left out."""
    from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415

    seen: list[str] = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = function(*args, **(kwargs or {}))
            seen.append(str(function) if not function.is_view else "")
            return out

    with Count():
        engine.decode([0, 1], PROMPT, 11)
    return sum(bool(name) for name in seen)


def logits(engine: Any) -> list[torch.Tensor]:
    """Of a prompt's last token and of some steps."""
    pages = [0, 1]
    out = [engine.read(pages, 0, [(7 * i + i * i) % 250 for i in range(PROMPT)]).float().clone()]
    return out + [engine.decode(pages, PROMPT + n, 11 + n).float().flatten().clone() for n in range(STEPS)]


def main(folder: Path) -> dict[str, Any]:
    """Both ways on one loaded model."""
    engine = import_module("test_conversations").load(folder / "models", folder)
    layers = engine._interface.model.model.layers
    assert all("forward" in vars(layer.self_attn.rotary_emb) for layer in layers)
    ours, count = logits(engine), operators(engine)
    DeepseekV3RMSNorm.forward = UPSTREAM
    for layer in layers:
        object.__delattr__(layer.self_attn.rotary_emb, "forward")
    theirs, before = logits(engine), operators(engine)
    return {
        "worst": max(float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True)),
        "likeliest_differ": sum(int(a.argmax()) != int(b.argmax()) for a, b in zip(ours, theirs, strict=True)),
        "operators": count,
        "operators_upstream": before,
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(Path(sys.argv[1]))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
