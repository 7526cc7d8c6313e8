"""GPU memory of KTransformers 0.2.1.post1 for DeepSeek-V3, computed from the tensor table.

The formulas are from its source: what the loader leaves on the GPU, what it needs temporarily while it loads, and what
a prompt needs. Figures are allocated bytes; torch's cache of freed blocks may hold more, and releases it when memory
runs out.
"""

import os
from dataclasses import dataclass

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import GgmlType, Model, Tensor
from leviathan_engine.model.shape import ModelShape

# CUDA context, loaded kernels, cuBLAS workspaces and the CUDA graph's pool: what a process holds in addition to torch's
# own pool. Measured on an H100 with torch 2.9.1 and CUDA 12.8: 794 to 810 MB (docs/gpu.md).
CONTEXT = 760 << 20
PAGE_TOKENS = 64
# RING_SLOTS of `leviathan_operators/install_experts.py`: experts that are being copied to a GPU.
STREAM_SLOTS = 16
EXPERT_PARTS = ("ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight")
# Keys that attention expands at once: KEY_BLOCK of leviathan_operators/operators/blocks.py.
KEY_BLOCK = 4096
# Positions whose logits are computed at once for log probabilities of a prompt (`worker/prompt_logprobs.py`).
HEAD_ROWS = 128
# Whether linear layers stay as GGUF blocks if the kernels can read them; `worker/one_token.py` checks the value.
DECODE_FROM_BLOCKS = os.environ.get("LEVIATHAN_DECODE") != "upstream"
# Types that those kernels read (KINDS of `leviathan_operators/reference/gguf_blocks.py`), in rows of a multiple of 256.
BLOCK_TYPES = frozenset(GgmlType[n] for n in ("Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"))
MARLIN_GROUP = 64
MARLIN_PARALLEL = 16
# `quantize_weights` and `marlin_packing.pack` hold five 32-bit copies of a weight at their peak.
MARLIN_TRANSIENT = 20
# Types with a kernel in `GGML_DEQUANTIZE_GPU` (Q4_0 and Q5_0 are listed there, but raise an error).
GPU_TYPES = frozenset(
    GgmlType[n] for n in ("F32", "F16", "BF16", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS")
)
# GGUF name and engine module of every linear layer, except kv_b, which the engine keeps as it is.
ATTENTION_LINEARS = {
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_output": "self_attn.o_proj",
}
DENSE_LINEARS = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
SHARED_LINEARS = {
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
}
NORMS = ("attn_norm", "attn_q_a_norm", "attn_kv_a_norm", "ffn_norm")


@dataclass(frozen=True)
class LayerVram:
    """One layer's bytes: `marlin` for weights and scales, or for GGUF blocks; `bf16` for kv_b, norms and other linears;
    `router` in its own type; `transient` for additional bytes while the largest tensor is loaded."""

    marlin: int
    bf16: int
    router: int
    transient: int

    @property
    def weights(self) -> int:
        """Bytes that stay on the GPU."""
        return self.marlin + self.bf16 + self.router


def marlin_fits(k: int, n: int) -> bool:
    """Whether Marlin supports a weight of `k` inputs and `n` outputs.

    From `KTransformersLinear` (both by 64) and `thread_config_t` in gptq_marlin.cu: tiles are 64x128 or 128x64.
    """
    return k % 64 == 0 and n % 64 == 0 and (k % 128 == 0 or n % 128 == 0)


def stays_blocks(tensor: Tensor) -> bool:
    """Whether a linear layer's weight stays as GGUF blocks."""
    return DECODE_FROM_BLOCKS and tensor.type in BLOCK_TYPES and tensor.shape[0] % 256 == 0


def linear_bytes(tensor: Tensor) -> int:
    """Returns the bytes of a linear layer on the GPU.

    GGUF blocks: as in the file. Marlin: 4 bits per weight, one bfloat16 scale per 64 weights
    (`worker/model_changes.py`), and a workspace of 16 integers per 64 outputs. Otherwise bfloat16.
    """
    k, n = tensor.shape
    if not marlin_fits(k, n):
        return 2 * k * n
    if stays_blocks(tensor):
        return tensor.nbytes
    return k * n // 2 + k // MARLIN_GROUP * n * 2 + n // 64 * MARLIN_PARALLEL * 4


def layer_linears(shape: ModelShape, layer: int) -> dict[str, str]:
    """Returns GGUF name -> engine module for the linears of this layer that KTransformersLinear replaces."""
    if layer < shape.dense_layers:
        return ATTENTION_LINEARS | DENSE_LINEARS
    return ATTENTION_LINEARS | (SHARED_LINEARS if shape.experts_shared else {})


def layer_vram(model: Model, shape: ModelShape, layer: int) -> LayerVram:
    """Returns the bytes of `layer`. Errors: GgufError for a tensor that is missing or that the engine cannot load."""
    marlin = bf16 = transient = 0
    for name in layer_linears(shape, layer):
        tensor = gpu_tensor(model, f"blk.{layer}.{name}.weight", 2)
        k, n = tensor.shape
        if marlin_fits(k, n):
            marlin += linear_bytes(tensor)
            if not stays_blocks(tensor):
                transient = max(transient, MARLIN_TRANSIENT * k * n - linear_bytes(tensor))
        else:
            bf16 += linear_bytes(tensor)
            transient = max(transient, 4 * k * n)
    for name in NORMS:
        bf16 += 2 * gpu_tensor(model, f"blk.{layer}.{name}.weight", 1).elements
    kv_b = shape.kv_b_rows * shape.kv_lora
    if f"blk.{layer}.attn_kv_b.weight" in model.tensors:
        gpu_tensor(model, f"blk.{layer}.attn_kv_b.weight", 2)
    elif any(f"blk.{layer}.attn_{part}_b.weight" not in model.tensors for part in "kv"):
        raise GgufError(
            f"{model.parts[0].path}: layer {layer} has neither attn_kv_b nor attn_k_b and attn_v_b",
            "use a complete conversion of DeepSeek-V3",
        )
    router = 0
    if layer >= shape.dense_layers:
        for name, dims in (("ffn_gate_inp.weight", 2), ("exp_probs_b.bias", 1)):
            tensor = gpu_tensor(model, f"blk.{layer}.{name}", dims)
            router += tensor.elements * (2 if tensor.type in (GgmlType.F16, GgmlType.BF16) else 4)
    return LayerVram(marlin, bf16 + 2 * kv_b, router, max(transient, 4 * kv_b))


def head_vram(model: Model) -> tuple[int, int]:
    """Returns the bytes of lm_head, in bfloat16 or as GGUF blocks, and the temporary bytes of its copies on loading."""
    tensor = gpu_tensor(model, "output.weight", 2)
    if stays_blocks(tensor):
        return tensor.nbytes, 0
    return 2 * tensor.elements, 4 * tensor.elements


def wide_bytes(model: Model, shape: ModelShape) -> int:
    """Returns the temporary bytes for one weight in bfloat16: a prompt chunk unpacks weights that stay as blocks."""
    names = [f"blk.{layer}.{name}.weight" for layer in range(shape.layers) for name in layer_linears(shape, layer)]
    tensors = [tensor for name in names if (tensor := model.tensors.get(name)) is not None]
    return max((2 * tensor.elements for tensor in tensors if stays_blocks(tensor)), default=0)


def kv_bytes(shape: ModelShape, cache_lens: int) -> int:
    """Returns the bytes of one layer's KV cache: pages of 64 tokens, each a latent vector and a rotary key in bf16."""
    pages = -(-cache_lens // PAGE_TOKENS)
    return pages * PAGE_TOKENS * (shape.kv_lora + shape.rope) * 2


def chunk_bytes(shape: ModelShape, chunk: int, cache_lens: int) -> int:
    """Returns the peak temporary bytes on a GPU while a layer reads a chunk of a prompt.

    For every token of the chunk, a layer holds three hidden vectors. Attention (`operators/blocks.py`) adds the query,
    its rotated part, the kernel's output (as wide as the query), and in 32 bits the merged output and a product of it;
    a dense layer adds four wide vectors. A block of keys needs cache entries, the same without the rotary part, kv_b's
    output, keys and padded values.
    """
    s = shape
    query, value = s.heads * (s.nope + s.rope), s.heads * s.v_dim
    attention = 2 * (3 * s.hidden + 2 * query + s.heads * s.rope) + 4 * 2 * value
    dense = 2 * (3 * s.hidden + 4 * s.ffn) if s.dense_layers else 0
    key = 2 * (2 * s.kv_lora + s.rope + s.kv_b_rows + 2 * query)
    return chunk * max(attention, dense) + min(KEY_BLOCK, cache_lens) * key


def stream_bytes(model: Model, shape: ModelShape) -> int:
    """Returns the bytes on a GPU for streaming experts: the ring buffer, and one expert in bfloat16."""
    expert = 0
    for layer in range(shape.dense_layers, shape.layers):
        sizes = [
            model.tensors[name].nbytes for part in EXPERT_PARTS if (name := f"blk.{layer}.{part}") in model.tensors
        ]
        expert = max(expert, sum(sizes) // max(shape.experts, 1))
    return STREAM_SLOTS * expert + 2 * 3 * shape.hidden * shape.moe_ffn if expert else 0


def logits_bytes(shape: ModelShape, chunk: int) -> int:
    """Returns the peak temporary bytes on lm_head's GPU after the layers have read a chunk of a prompt.

    For log probabilities of the prompt, HEAD_ROWS positions at a time: 24 bytes for each logit; three hidden vectors
    of every token of the chunk. Logits and their log softmax take 8 bytes in 32 bits, the choice of the most likely
    tokens the rest (17 bytes in all, by the process's memory on a CPU; not measured on a GPU). It is less than the
    layers need: 0.57 of 1.86 GB for chunks of 4096 tokens of DeepSeek-V3, so its plan is that of ordinary prompts.
    """
    return 24 * min(HEAD_ROWS, chunk) * shape.vocab + 2 * 3 * chunk * shape.hidden


def gpu_tensor(model: Model, name: str, dims: int) -> Tensor:
    """Returns the tensor `name`. Errors: GgufError unless it has `dims` dimensions and a type that GPUs can load."""
    tensor = model.tensors.get(name)
    if tensor is None:
        raise GgufError(
            f"{model.parts[0].path}: the tensor {name} is missing", "use a complete conversion of DeepSeek-V3"
        )
    where = model.parts[tensor.part].path
    if len(tensor.shape) != dims:
        raise GgufError(
            f"{where}: {name}: expected {dims} dimension{'s' * (dims != 1)}, got {len(tensor.shape)}",
            "convert the model again with a current llama.cpp",
        )
    if tensor.type not in GPU_TYPES:
        raise GgufError(
            f"{where}: the tensor {name} has type {tensor.type.name}, which the engine cannot load on a GPU",
            f"quantise it as one of {', '.join(sorted(k.name for k in GPU_TYPES))}",
        )
    return tensor
