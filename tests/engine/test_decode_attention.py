"""Decode attention with splits by length, in Triton's interpreter, against plain torch in float64.

The interpreter runs the kernels' own code on the CPU. It must be on before they are imported, so they run in a
separate process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import engine_process

# Around the least tokens of a split, of all splits together, and more.
LENGTHS = (1, 128, 129, 1000, 4097)
CODE = """
import json, sys
import torch
from triton.runtime import interpreter
patch = interpreter._patch_lang_tensor
def patched(tensor):
    patch(tensor)
    tensor.__index__ = lambda self: self.handle.data.item()  # int() of an array of one element, which numpy 2.4 refuses
interpreter._patch_lang_tensor = patched
from ktransformers.operators import triton_attention
generator = torch.Generator().manual_seed(0)
heads, page, latent, rope = 16, 64, 512, 64
errors, used = {}, {}
for length in map(int, sys.argv[1:]):
    pages = length // page + 2
    cache = torch.randn(pages, page, 1, latent + rope, generator=generator)
    q = torch.randn(1, heads, latent + rope, generator=generator)
    table = torch.randperm(pages, generator=generator, dtype=torch.int32)[None]
    out = torch.zeros(1, heads, 1, latent).transpose(1, 2)
    splits = triton_attention.NUM_KV_SPLITS
    logits = torch.full((1, heads, splits, latent + 1), float("nan"))
    values, sizes = cache[:, :, :, :latent], torch.tensor([length], dtype=torch.int32)
    triton_attention.decode_attention_fwd_grouped(q, cache, values, out, table, sizes, logits, splits, 0.05, page)
    past = cache[table[0].long()].flatten(0, 1)[:length, 0].double()
    wanted = torch.softmax(q[0].double() @ past.T * 0.05, -1) @ past[:, :latent]
    errors[length] = float((out[0, 0].double() - wanted).norm() / wanted.norm())
    used[length] = int((~logits[0, 0, :, 0].isnan()).sum())
print(json.dumps([errors, used]))
"""


def test_every_length_against_float64(home: Path) -> None:
    """Splits that hold nothing are neither written nor read: the scratch memory is full of NaN before."""
    env = dict(os.environ) | engine_process.environment(home) | {"TRITON_INTERPRET": "1"}
    argv = [sys.executable, "-c", CODE, *map(str, LENGTHS)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    errors, used = json.loads(done.stdout)
    assert max(errors.values()) < 1e-5, errors
    assert [used[str(length)] for length in LENGTHS] == [1, 1, 2, 8, 32]
