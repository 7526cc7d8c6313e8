"""The kernels of a decode step (gguf_decode.cu, decode_steps.cu), called with torch's tensors on its current stream.

`reference.plain_decode.PlainDecode` has the same methods in plain torch. A quantised vector of n values is a tensor of
`vector_bytes(n)` int8 numbers; gguf_dots.h has its layout.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .library import FILE, Library, Slots

# Planes of a quantised vector: 2 keeps 16 bits of a value, 1 keeps 8. Variants: `Shape` in gguf_decode.cu, 0: the
# quickest known.
PLANES, VARIANT = 2, 0
FLOAT, ROUNDED, ADDED = 0, 1, 2


def vector_bytes(cols: int, planes: int = PLANES) -> int:
    """Bytes of a quantised vector of `cols` values."""
    return int(planes * cols + cols // 32 * 4 + cols // 16 * 4)


@dataclass(frozen=True)
class Matrix:
    """A weight as GGUF's blocks on a device: uint8, `rows` of `cols` inputs each, of ggml's type number `kind`."""

    data: Tensor
    kind: int
    rows: int
    cols: int

    @property
    def at(self) -> int:
        """Its address."""
        return int(self.data.data_ptr())

    def as_slots(self, up: "Matrix") -> Slots:
        """This as gate, with `up`, as experts of one slot."""
        return Slots(self.at, up.at, 0, 0, self.kind, 0)


class Heads(NamedTuple):
    """Widths of attention: heads' number, of a key without and with rotation, of a value, of the latent vector."""

    number: int
    nope: int
    rope: int
    value: int
    rank: int


class Choice(NamedTuple):
    """How a router chooses: experts, groups, groups and experts used, whether weights are normalised, their factor."""

    experts: int
    groups: int
    groups_used: int
    used: int
    normalised: bool
    factor: float


class DecodeKernels:
    """The functions of the shared object at `file`. Errors: OSError when it cannot be loaded."""

    def __init__(self, file: Path = FILE, planes: int = PLANES, variant: int = VARIANT) -> None:
        self.planes, self.variant = planes, variant
        self._library = Library(file)

    def vector(self, cols: int, device: torch.device, count: int = 1) -> Tensor:
        """Room for `count` quantised vectors."""
        return torch.zeros(count * vector_bytes(cols, self.planes), dtype=torch.int8, device=device)

    def norm(
        self,
        x: Tensor,
        weight: Tensor,
        epsilon: float,
        out: Tensor,
        normed: Tensor | None = None,
        host: Tensor | None = None,
    ) -> None:
        """weight * x / rms(x), bfloat16, quantised in `out`, and as it is in `normed` and page-locked `host`."""
        self._do("norm", x, self.planes, x, weight, epsilon, weight.numel(), out, normed, host)

    def quantise(self, x: Tensor, out: Tensor) -> None:
        """x (float32 or bfloat16) in `out`."""
        self._do("quantise", x, self.planes, x, int(x.dtype == torch.float32), x.numel(), out)

    def multiply(
        self, first: Matrix, x: Tensor, out: Tensor, base: Tensor | None = None, second: Matrix | None = None
    ) -> None:
        """The rows of `first`, then of `second` (of its type and width), times x; bfloat16 or float32 as `out` is.

        With `base`, bfloat16, that is added before the answer is rounded.
        """
        rows = first.rows + (second.rows if second else 0)
        mode = ADDED if base is not None else ROUNDED if out.dtype == torch.bfloat16 else FLOAT
        other = second.at if second else 0
        self._do(
            "multiply", x, first.kind, self.variant, first.at, first.rows, other, rows, first.cols, x, out, base, mode
        )

    def gate_up(
        self, weights: Slots, slots: Tensor | None, x: Tensor, hidden: Tensor, choices: int, width: int, cols: int
    ) -> None:
        """silu(gate x) * (up x) for each choice whose slot is not negative, one quantised vector each in `hidden`."""
        where = (weights.gate_kind, self.variant, weights.gate, weights.up, weights.stride)
        self._do("gate_up_one", x, *where, slots, x, hidden, choices, width, cols)

    def down(self, weights: Slots, slots: Tensor, scales: Tensor, hidden: Tensor, out: Tensor, width: int) -> None:
        """Adds to `out`, float32, each choice's scale * (down hidden), in their order."""
        where = (weights.down_kind, self.variant, weights.down, weights.stride)
        self._do("down_one", out, *where, slots, scales, hidden, out, slots.numel(), out.numel(), width)

    def latents(
        self,
        given: Tensor,
        weights: tuple[Tensor, Tensor],
        epsilon: float,
        angles: tuple[Tensor, Tensor],
        position: Tensor,
        table: Tensor,
        cache: Tensor,
        out: Tensor,
    ) -> None:
        """Norms of the query's and the key's latent vectors, RoPE of the key: the first quantised in `out`, the others
        in the cache at the token's position.

        Args:
            given: float32 (query + rank + rope).
            weights: the norms', bfloat16 (query) and (rank).
            epsilon: the norms'.
            angles: cosines and sines, bfloat16 (rope).
            position: int64, one.
            table: int32, the sequence's page numbers.
            cache: bfloat16 (pages, tokens of a page, 1, rank + rope).
            out: a quantised vector.
        """
        query, rank, rope = weights[0].numel(), weights[1].numel(), angles[0].numel()
        sizes, page = (self.planes, given, query, rank, rope), cache.shape[1]
        self._do("latents", given, *sizes, *weights, epsilon, *angles, position, table, page, cache, out)

    def absorb(self, query: Tensor, kv_b: Tensor, heads: Heads, angles: tuple[Tensor, Tensor], out: Tensor) -> None:
        """Each head's query over the cache: float32 (heads, nope + rope) to bfloat16 (heads, rank + rope)."""
        self._do("absorb", query, query, kv_b, *heads, *angles, out)

    def values(self, attended: Tensor, kv_b: Tensor, heads: Heads, out: Tensor) -> None:
        """Each head's values, quantised, from bfloat16 (heads, rank)."""
        widths = (heads.number, heads.nope, heads.value, heads.rank)
        self._do("values", attended, self.planes, attended, kv_b, *widths, out)

    def router(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        choice: Choice,
        products: Tensor,
        table: Tensor,
        slots: Tensor,
        weights: Tensor,
        host: tuple[Tensor, Tensor],
        uses: Tensor,
    ) -> None:
        """Chooses a token's experts: their slots on this device, their weights, and in page-locked memory the ids that
        are the CPU's (-1 elsewhere) and the weights. Counts them in `uses`.

        Args:
            x: bfloat16 (hidden).
            weight: float32 (experts, hidden).
            bias: float32 (experts), added to the scores to choose by.
            choice: how.
            products: float32 (experts), written.
            table: int32 (experts), each one's slot or -1.
            slots: int32 (used), written.
            weights: float32 (used), written.
            host: int64 and float32 (used), written.
            uses: int64 (experts), added to.
        """
        how = (choice.experts, choice.groups, choice.groups_used, choice.used, int(choice.normalised), choice.factor)
        self._do("router", x, x, weight, x.numel(), products, bias, *how, table, slots, weights, *host, uses)

    def layer_sum(self, base: Tensor, routed: Tensor, host: Tensor | None, out: Tensor) -> None:
        """base + routed + what the CPU left in page-locked `host`; bfloat16."""
        self._do("layer_sum", base, base, routed, host, base.numel(), out)

    def dequantise(self, kind: int, blocks: int, out: Tensor) -> None:
        """As `Library.dequantise`."""
        self._library.dequantise(kind, blocks, out)

    def _do(self, name: str, on: Tensor, *arguments: Any) -> None:
        """Calls a function on the current stream of a tensor's device; tensors become addresses, None a null."""
        plain = [a.data_ptr() if isinstance(a, Tensor) else a or 0 for a in arguments]
        self._library.call(name, on, *plain)
