"""Decode attention by number and length of splits: `attention_splits.py TRITON_ATTENTION_PY OUT.json`.

Takes ktransformers/operators/triton_attention.py as our patch leaves it (attention-splits.patch), with other constants,
and compiles it with the torch and Triton that are there. DeepSeek-V3's widths, 128 heads; every answer is compared with
float64. Microseconds of both stages, from a CUDA graph over caches that no cache holds.
"""

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from kernels import timed

HEADS, LATENT, ROPE, PAGE = 128, 512, 64, 64
LENGTHS = (64, 512, 2048, 8192, 32768, 131072)
SETTINGS = ((32, 128), (32, 64), (32, 32), (16, 128), (64, 128), (64, 64), (128, 128))
# bfloat16 products and a bfloat16 answer.
LIMIT = 1e-2


def module(source: Path, most: int, least: int, folder: Path) -> Any:
    """The file with these constants, as a module of its own."""
    text, one = re.subn(r"(?m)^NUM_KV_SPLITS = \d+", f"NUM_KV_SPLITS = {most}", source.read_text(encoding="utf-8"))
    text, two = re.subn(r"(MIN_TOKENS_PER_SPLIT = tl\.constexpr\()\d+", rf"\g<1>{least}", text)
    if (one, two) != (1, 1):
        raise SystemExit(
            f"{source}: expected NUM_KV_SPLITS and MIN_TOKENS_PER_SPLIT once each; fix: give the patched file"
        )
    path = folder / f"splits_{most}_{least}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    out = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(out)
    return out


def row(attention: Any, length: int) -> dict[str, float]:
    """Microseconds and the error at one length."""
    pages = length // PAGE + 2
    copies = max(1, min(16, (200 << 20) // (length * 2 * (LATENT + ROPE))))
    caches = [torch.randn(pages, PAGE, 1, LATENT + ROPE, device="cuda").bfloat16() for _ in range(copies)]
    query = torch.randn(1, HEADS, LATENT + ROPE, device="cuda").bfloat16()
    table = torch.randperm(pages, device="cuda").int()[None]
    out = torch.zeros(1, HEADS, 1, LATENT, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
    splits, size = attention.NUM_KV_SPLITS, torch.tensor([length], dtype=torch.int32, device="cuda")
    logits = torch.empty(1, HEADS, splits, LATENT + 1, device="cuda")

    def call(cache: torch.Tensor) -> Callable[[], None]:
        values = cache[:, :, :, :LATENT]
        given = (query, cache, values, out, table, size, logits, splits, 0.05, PAGE)
        return lambda: attention.decode_attention_fwd_grouped(*given)

    call(caches[0])()
    past = caches[0][table[0].long()].flatten(0, 1)[:length, 0].double()
    right = torch.softmax(query[0].double() @ past.T * 0.05, -1) @ past[:, :LATENT]
    error = float((out[0, 0].double() - right).norm() / right.norm())
    return {"us": round(timed([call(cache) for cache in caches]) * 1e6, 1), "error": error}


def main(source: Path, out: Path) -> int:
    """Every setting at every length; exit code 1 when an answer is wrong."""
    table: dict[str, Any] = {}
    folder = out.parent / "splits"
    folder.mkdir(parents=True, exist_ok=True)
    for most, least in SETTINGS:
        attention = module(source, most, least, folder)
        table[f"{most}, {least}"] = rows = {str(length): row(attention, length) for length in LENGTHS}
        sys.stdout.write(f"{most} splits, {least} tokens at least: {json.dumps(rows)}\n")
        sys.stdout.flush()
        out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    worst = max(cell["error"] for rows in table.values() for cell in rows.values())
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
