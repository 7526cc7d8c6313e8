"""DeepSeek-V3's mixture of experts for the rule file: experts on the CPU, resident on the GPU, or streamed to it.

`experts.device.DeviceLayer`, which `install_experts` adds to each layer after loading, decides where a token's experts
run. Without it, the CPU computes all experts, as in upstream's KDeepseekV3MoE.
"""

from typing import Any

import torch
from ktransformers.models.modeling_deepseek_v3 import DeepseekV3MoE
from ktransformers.operators.base_operator import BaseInjectedModule
from torch import Tensor

from leviathan_operators.experts.device import DeviceLayer


class HybridMoE(BaseInjectedModule, DeepseekV3MoE):
    """Router, routed experts and shared experts of one layer; (1, tokens, hidden) to the same shape."""

    device_layer: DeviceLayer | None = None

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Returns the layer's output, bfloat16."""
        ids, weights = self.gate(hidden_states)
        x = hidden_states.view(-1, hidden_states.shape[-1])
        if len(x) == 1 and x.is_cuda:
            return self._one(hidden_states, x, ids, weights)
        out = self._routed(x, ids, weights)
        if self.config.n_shared_experts is not None:
            out = out + self.shared_experts(hidden_states).view_as(x)
        return out.to(x.dtype).view_as(hidden_states)

    def _one(self, hidden_states: Tensor, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        """Computes one token: the CPU's experts, meanwhile the GPU's own and shared ones. May be captured."""
        here = self.device_layer
        weights = weights.float()
        cpu_ids = here.route(ids) if here else ids
        cpu = self.experts.generate_experts
        cpu.submit_for_one_decode(x[0], cpu_ids[0], weights[0])
        out: Any = here.resident(x, weights) if here else None
        if self.config.n_shared_experts is not None:
            shared = self.shared_experts(hidden_states).view_as(x)
            out = shared if out is None else out + shared
        routed = cpu.sync_for_one_decode().unsqueeze(0)
        out = routed if out is None else out + routed
        return out.to(x.dtype).view_as(hidden_states)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _routed(self, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        """Computes a chunk's routed experts."""
        here = self.device_layer
        if here is None:
            return self.experts(x, ids, weights)
        if here.streams(len(x)):
            return here.streamed(x, ids, weights)
        cpu_ids = here.route(ids)
        on_device = here.resident(x, weights.float())  # queued before the CPU starts
        on_cpu = self.experts(x, cpu_ids, weights).to(x.device)
        return on_cpu if on_device is None else on_device + on_cpu
