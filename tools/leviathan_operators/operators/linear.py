"""Linear layers that read GGUF blocks: the weights are exactly those of the file, and the start packs nothing.

One token is multiplied in integers (`kernels/gguf_decode.cu`). For more tokens, the weight is first dequantised to
bfloat16, into a buffer that all layers of a device share.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ktransformers.operators.linear import LINEAR_MAP, KLinearBase, KLinearMarlin
from ktransformers.util.custom_gguf import GGUFLoader
from torch import Tensor

from ..kernels.decode import Matrix
from ..reference.gguf_blocks import KINDS

HEAD = "output.weight"
_load = GGUFLoader.load_gguf_tensor


class _Shared:
    """Shared by all layers of this process: the kernels, and each device's buffer for one weight in bfloat16."""

    kernels: Any = None
    room: dict[torch.device, Tensor] = {}  # noqa: RUF012  (one for all)

    @classmethod
    def wide(cls, rows: int, cols: int, device: torch.device) -> Tensor:
        """Returns the buffer for a weight; it grows as needed, and the next call overwrites it."""
        there = cls.room.get(device)
        if there is None or there.numel() < rows * cols:
            there = cls.room[device] = torch.empty(rows * cols, dtype=torch.bfloat16, device=device)
        return there[: rows * cols].view(rows, cols)


def fits(info: Mapping[str, Any]) -> bool:
    """Whether the kernels can read a weight, from its type and number of inputs in the loader's `tensor_info`."""
    return int(info["ggml_type"]) in KINDS and int(info["shape"][0]) % 256 == 0


def blocks(loader: Any, name: str, rows: int, cols: int, device: torch.device) -> Matrix:
    """Copies a weight's blocks from the file to a device."""
    raw = np.array(loader.get_mmap_tensor(name)).reshape(-1).view(np.uint8)
    return Matrix(torch.from_numpy(raw).to(device), int(loader.tensor_info[name]["ggml_type"]), rows, cols)


class BlockLinear(KLinearBase):
    """A linear layer without bias whose weight stays as GGUF's blocks."""

    matrix: Matrix | None = None
    weight: Tensor | None = None

    def load(self, w: Any = None, device: str | None = None) -> None:
        """Loads the blocks from the file; ignores `w`, which upstream's loader never passes."""
        name, on = self.key + ".weight", torch.device(device or self.device)
        self.matrix = blocks(self.gguf_loader, name, self.out_features, self.in_features, on)
        self.weight = self.matrix.data

    def unload(self) -> None:
        """Frees the memory."""
        self.weight = self.matrix = None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, inputs) to (…, outputs), bfloat16."""
        assert self.matrix is not None
        return multiply(self.matrix, x)


def multiply(matrix: Matrix, x: Tensor) -> Tensor:
    """Multiplies x (…, inputs) by the weight: (…, outputs) of x's dtype."""
    kernels, rows = _Shared.kernels, x.reshape(-1, matrix.cols)
    if len(rows) == 1:
        vector = kernels.vector(matrix.cols, x.device)
        kernels.quantise(rows.contiguous(), vector)
        out = torch.empty(1, matrix.rows, dtype=x.dtype, device=x.device)
        kernels.multiply(matrix, vector, out)
    else:
        weight = _Shared.wide(matrix.rows, matrix.cols, x.device)
        kernels.dequantise(matrix.kind, matrix.at, weight)
        out = rows @ weight.to(x.dtype).T
    return out.view(*x.shape[:-1], matrix.rows)


def install(kernels: Any) -> None:
    """Replaces `KLinearMarlin` of rule files by `BlockLinear` if the kernels can read the weight; before the load.

    The loader leaves out lm_head if `head_from_blocks` can give it the file's blocks: unpacked it takes six bytes a
    weight for a moment, more than anything else at the start.
    """
    _Shared.kernels = kernels

    def either(key: str, gguf_loader: Any, *arguments: Any, **named: Any) -> Any:
        info = gguf_loader.tensor_info[key + ".weight"]
        plain = key + ".bias" not in gguf_loader.tensor_info
        return (BlockLinear if plain and fits(info) else KLinearMarlin)(key, gguf_loader, *arguments, **named)

    def without_head(self: Any, name: str, device: str = "cpu") -> Tensor:
        if name == HEAD and fits(self.tensor_info[name]):
            return torch.empty(0, device=device)
        return _load(self, name, device)

    LINEAR_MAP["KLinearMarlin"] = either
    GGUFLoader.load_gguf_tensor = without_head


def head_from_blocks(model: Any) -> bool:
    """Gives lm_head the file's blocks, on the device of the rule file; False if the kernels cannot read them."""
    loader, head = model.gguf_loader, model.lm_head
    info = loader.tensor_info.get(HEAD)
    weight = getattr(head, "weight", None)
    if info is None or weight is None or not fits(info):
        return False
    cols, rows = info["shape"]
    matrix = blocks(loader, HEAD, int(rows), int(cols), weight.device)
    head.weight = torch.nn.Parameter(weight.new_empty(0), requires_grad=False)
    head.forward = lambda x: multiply(matrix, x)
    return True
