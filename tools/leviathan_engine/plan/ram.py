"""Main memory and time: what the CPU side holds, how long the start takes, how fast it can decode at most."""

from dataclasses import dataclass

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import GgmlType, Model
from leviathan_engine.model.shape import ModelShape

# Interpreter, torch, CUDA's host side and page-locked buffers: an estimate.
RUNTIME = 4 << 30
# Tokens that the CPU experts take at once (KExpertsCPU's group_max_len).
GROUP_TOKENS = 1024
# `dequantize_q4_k` and similar functions hold four 32-bit copies of the embedding at their peak.
EMBED_TRANSIENT = 16
# Weights per second that a GPU dequantises, rounds and packs for Marlin (worker/marlin_packing.py): an estimate.
PACK_RATE = 3.0e9
# Before the loader takes its first tensor, and after its last: estimates.
IMPORT_SECONDS = 15.0
FIRST_ANSWER_SECONDS = 8.0
# Types that the compiled CPU experts multiply (tinyblas and iqk in third_party/llamafile). For any other type
# `llamafile_sgemm` returns false, which its caller ignores, and the answers are noise.
EXPERT_TYPES = frozenset(
    GgmlType[n]
    for n in (
        *("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"),
        *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"),
    )
)
EXPERTS = ("ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight")


@dataclass(frozen=True)
class CpuMemory:
    """Bytes: `experts` in the page cache, `process` of the worker itself, `process_peak` of it during loading;
    `token_experts` are the expert bytes that one token needs."""

    experts: int
    process: int
    process_peak: int
    token_experts: int


def cpu_memory(model: Model, shape: ModelShape) -> CpuMemory:
    """Returns the memory that the CPU side of `model` needs.

    Errors: GgufError for experts that are missing, or that the compiled code would compute wrongly.
    """
    experts = 0
    for layer in range(shape.dense_layers, shape.layers):
        for name in EXPERTS:
            tensor = model.tensors.get(f"blk.{layer}.{name}")
            if tensor is None:
                raise GgufError(
                    f"{model.parts[0].path}: the tensor blk.{layer}.{name} is missing", "download the model again"
                )
            if tensor.type not in EXPERT_TYPES:
                raise GgufError(
                    f"{model.parts[tensor.part].path}: the tensor {tensor.name} has type {tensor.type.name}, which the"
                    " CPU experts compute wrongly",
                    f"quantise it as one of {', '.join(sorted(k.name for k in EXPERT_TYPES))}",
                )
            experts += tensor.nbytes
    if shape.hidden % 256 or shape.moe_ffn % 256:
        raise GgufError(
            f"{model.parts[0].path}: the CPU experts need a hidden size and an expert width that are multiples of 256,"
            f" got {shape.hidden} and {shape.moe_ffn}",
            "use another model",
        )
    embed = shape.vocab * shape.hidden
    # MOE's shared buffer: per token and expert an input, an output and four expert-wide rows, in 32 bits or less.
    buffers = GROUP_TOKENS * shape.experts_used * 4 * (2 * shape.hidden + 4 * shape.moe_ffn)
    process = RUNTIME + buffers + 2 * embed
    share = shape.experts_used / shape.experts if shape.experts else 0.0
    return CpuMemory(experts, process, RUNTIME + EMBED_TRANSIENT * embed, round(experts * share))


def decode_bound(memory: CpuMemory, cached: int, ram_rate: float | None, disk_rate: float | None) -> float | None:
    """Returns an upper bound in tokens per second: each token reads its experts once, from memory or from the disk.

    `cached` is the number of expert bytes that stay in memory; the others are read from the disk. None without
    `ram_rate`, or without `disk_rate` if it matters.
    """
    if ram_rate is None or memory.token_experts == 0:
        return None
    missing = 1.0 - min(1.0, cached / memory.experts)
    seconds = memory.token_experts / ram_rate
    if missing > 0:
        if disk_rate is None:
            return None
        seconds += missing * memory.token_experts / disk_rate
    return 1.0 / seconds


def start_seconds(model: Model, packed_weights: int, disk_rate: float | None) -> float | None:
    """Estimates the seconds until the engine is ready.

    Read-ahead reads every byte once, while the loader imports modules and packs the linear layers for Marlin. After
    the last byte the loader takes the last layer's experts, and the worker generates a first answer as a test.
    """
    if disk_rate is None:
        return None
    return max(model.file_bytes / disk_rate, IMPORT_SECONDS + packed_weights / PACK_RATE) + FIRST_ANSWER_SECONDS
