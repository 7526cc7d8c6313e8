"""The plan as a table for people."""

from collections.abc import Sequence

from .machine import GIB
from .plan import Plan
from .vram import DECODE_FROM_BLOCKS

PURPOSES = (
    (f"attention, MLP ({'blocks' if DECODE_FROM_BLOCKS else 'Marlin'})", "marlin"),
    ("kv_b, norms (bf16)", "bf16"),
    ("router", "router"),
    ("lm_head", "lm_head") if DECODE_FROM_BLOCKS else ("lm_head (bf16)", "lm_head"),
    ("KV cache", "kv_cache"),
    ("prompt chunk", "prefill"),
    ("CUDA context", "context"),
)


def render(plan: Plan) -> str:
    """Returns the table, with the CPU's part, the times, and one line for each warning and note."""
    names = [f"{gpu.device}{f' {gpu.name}' if gpu.name else ''}" for gpu in plan.gpus]
    rows: list[Sequence[str]] = [
        ("", *names),
        ("GPU in PCI order", *(str(gpu.index) for gpu in plan.gpus)),
        ("layers", *(f"{gpu.first_layer}-{gpu.last_layer}" for gpu in plan.gpus)),
    ]
    rows += [(title, *(_gb(getattr(gpu.need, name)) for gpu in plan.gpus)) for title, name in PURPOSES]
    rows += [
        ("peak use", *(_gb(gpu.need.total) for gpu in plan.gpus)),
        ("budget", *(_gb(gpu.budget) for gpu in plan.gpus)),
        ("resident experts", *(_gb(gpu.experts) for gpu in plan.gpus)),
        ("free", *(_gb(gpu.budget - gpu.need.total - gpu.experts) for gpu in plan.gpus)),
    ]
    cpu = plan.cpu
    kept = f", conversations {cpu.kv_ram / GIB:.1f} GiB" if cpu.kv_ram else ""
    lines = [
        f"{plan.model}: {plan.layers} layers, {plan.file_bytes / 1e9:.1f} GB of files",
        f"KV cache {plan.cache_lens} tokens, prompts up to {plan.max_prompt} tokens, in chunks of {plan.chunk}",
        "",
        *_columns(rows),
        "",
        f"CPU: experts {cpu.experts / GIB:.1f} GiB of page cache, process {cpu.process / GIB:.1f} GiB"
        f" ({cpu.process_peak / GIB:.1f} GiB while loading){kept}, limit {cpu.limit / GIB:.1f} GiB",
        f"GPUs: {plan.resident_share:.0%} of the experts are resident; they serve the same share of each token if all"
        f" experts are used equally",
        f"start: {_seconds(plan.start_seconds)}; decode: {_rate(plan.decode_bound)}",
    ]
    lines += [f"warning: {text}" for text in plan.warnings]
    lines += [f"note: {text}" for text in plan.notes]
    return "\n".join(lines) + "\n"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _seconds(value: float | None) -> str:
    return "unknown (no disk rate)" if value is None else f"about {value:.0f} s"


def _rate(value: float | None) -> str:
    return "unknown (no memory or disk rate)" if value is None else f"at most {value:.1f} tokens/s"
