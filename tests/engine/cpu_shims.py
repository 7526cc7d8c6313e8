"""KTransformers' own server without a GPU: `python3 cpu_shims.py <flags of ktransformers.server.main>`.

The server, its loader and the compiled CPU experts are the real ones. Replaced is only what has no meaning, or no
implementation, without CUDA; the engine's own patch already makes it importable, and its flash_attn stand-in already
works on any device. Needs --device cpu and a rule file that puts every module on the CPU (cpu-rules.yaml).
"""

import functools
import os
import time
from typing import Any

import torch


def ignore_pin_memory() -> None:
    """torch.zeros(pin_memory=True) asks the CUDA driver for page-locked memory: give ordinary memory."""
    original = torch.zeros

    @functools.wraps(original)
    def zeros(*args: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
        return original(*args, **kwargs)

    torch.zeros = zeros


def no_cuda_device() -> None:
    """The server selects its device before every step and asks whether a CUDA graph is being captured: it is not."""
    torch.cuda.set_device = lambda device: None
    torch.cuda.is_current_stream_capturing = lambda: False
    torch.cuda.get_device_capability = lambda device=None: (8, 0)


def decode_attention(
    q: torch.Tensor,
    k_buffer: torch.Tensor,
    v_buffer: torch.Tensor,
    o: torch.Tensor,
    req_to_token: torch.Tensor,
    b_seq_len: torch.Tensor,
    attn_logits: torch.Tensor,
    num_kv_splits: int,
    sm_scale: float,
    page_size: int,
    logit_cap: float = 0.0,
) -> None:
    """What the Triton kernel of ktransformers.operators.triton_attention computes, in float32, into `o`.

    Args:
        q: (batch, heads, 576) absorbed queries: 512 of the latent space, then 64 rotary.
        k_buffer: (pages, page_size, 1, 576), the paged cache; v_buffer: its first 512 columns.
        o: (batch, 1, heads, 512), written.
        req_to_token: (batch, pages) page numbers of each sequence.
        b_seq_len: (batch,) tokens in the cache, this one included.
        attn_logits, num_kv_splits: the kernel's scratch memory; not used here.
        sm_scale: factor on q·k.
        page_size: tokens a page.
        logit_cap: soft cap; DeepSeek has none.
    """
    assert logit_cap == 0.0, "DeepSeek-V3 has no logit cap"
    for row in range(q.shape[0]):
        length = int(b_seq_len[row])
        pages = req_to_token[row, : (length + page_size - 1) // page_size].long()
        keys = k_buffer[pages].flatten(0, 1)[:length, 0].float()
        values = v_buffer[pages].flatten(0, 1)[:length, 0].float()
        weights = torch.softmax(q[row].float() @ keys.T * sm_scale, dim=-1)
        o[row, 0] = (weights @ values).to(o.dtype)


def slow_chunks(seconds: float) -> None:
    """Each layer takes so long over a chunk of a long prompt, as on a machine that is short of everything."""
    from leviathan_operators.operators.attention import ChunkedLatentAttention  # noqa: PLC0415

    original = ChunkedLatentAttention.chunk

    def slow(self: Any, hidden: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        if hidden.shape[1] >= 32:
            time.sleep(seconds)
        return original(self, hidden, *arguments, **named)

    ChunkedLatentAttention.chunk = slow


def apply() -> None:
    """Install every replacement; call it before the server starts."""
    ignore_pin_memory()
    no_cuda_device()
    from ktransformers.operators import attention  # noqa: PLC0415  (it must see the replacements above)

    attention.decode_attention_fwd_grouped = decode_attention
    if seconds := float(os.environ.get("SLOW_CHUNKS", "0")):
        slow_chunks(seconds)


if __name__ == "__main__":
    apply()
    from ktransformers.server.main import main

    main()
