"""The paged KV cache of DeepSeek-V3: upstream's tensors, addressed through a page table.

Upstream only uses its page table in the decode kernel, and writes to page i for position i * 64 (0.2.1.post1,
models/custom_cache.py, line 138).
"""

from collections.abc import Sequence
from typing import Any

import torch
from ktransformers.models.custom_cache import StaticCache
from torch import Tensor

#: Pages that are moved to or from main memory at once: 72 MB of DeepSeek-V3.
BATCH = 16


class LatentCache(StaticCache):
    """Pages of 64 tokens, in every layer (pages, 64, 1, rank + rope); implements `cache.PageStore` over all layers.

    One sequence is selected at a time. Its table is changed in place, so a captured CUDA graph reads the new one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Has upstream's arguments. No sequence is selected: the page table is the identity."""
        super().__init__(*args, **kwargs)
        self.past_tokens: list[int]
        self.start = 0
        self._selected: tuple[int, ...] = ()
        # The places of a step's tokens are the same in every layer, so they are computed once per step and device.
        self._slots: dict[torch.device, Tensor] = {}
        self._staging: list[tuple[range, Tensor]] = []

    def select(self, pages: Sequence[int], start: int) -> None:
        """Selects the sequence with these pages for the next step, whose tokens start at position `start`."""
        self.start = start
        self._slots = {}
        if self._selected != tuple(pages):
            self._selected = tuple(pages)
            row = torch.tensor(pages, dtype=torch.int32)
            for table in self.page_table_map.values():
                table[0, : len(pages)].copy_(row)
        self.past_tokens = [start] * len(self.past_tokens)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, cache_kwargs: dict[str, Any] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Writes latent vectors (1, n, 1, rank) and rotated keys (1, n, 1, rope) at `cache_position`.

        Returns the layer's pages and its table, as upstream's does.
        """
        assert cache_kwargs is not None
        position = cache_kwargs["cache_position"]
        pages, table = self.key_cache[layer_idx], self.page_table_list[layer_idx]
        self.past_tokens[layer_idx] += position.size(0)
        slots = self._slots.get(position.device)
        if slots is None:
            page = table[0, position // self.page_size].long()
            slots = self._slots[position.device] = page * self.page_size + position % self.page_size
        entries = pages.view(-1, pages.shape[-1])
        entries[slots, : self.kv_lora_rank] = key_states.view(-1, self.kv_lora_rank)
        entries[slots, self.kv_lora_rank :] = value_states.reshape(-1, self.qk_rope_head_dim)
        return pages, table

    def latents(self, layer: int, first: int, last: int) -> Tensor:
        """Entries (last - first, rank + rope) of the selected sequence's positions `first` to before `last`."""
        size = self.page_size
        pages, table = self.key_cache[layer], self.page_table_list[layer]
        numbers = table[0, first // size : -(-last // size)]
        return pages[numbers].flatten(0, 2)[first % size : first % size + last - first]

    def copy(self, source: int, target: int) -> None:
        """Copies a page in every layer."""
        for pages in self.key_cache:
            pages[target].copy_(pages[source])
        self._wait()

    @property
    def page_bytes(self) -> int:
        """Bytes of a page over all layers."""
        return sum(pages[0].nbytes for pages in self.key_cache)

    def read(self, pages: Sequence[int]) -> list[bytes]:
        """Returns the bytes of pages, the first layer's first."""
        blobs: list[bytes] = []
        for batch in _batches(pages):
            for layers, staging in self._stagings():
                rows = torch.cat([self.key_cache[n][batch].flatten(1) for n in layers], dim=1)
                staging[: len(batch)].copy_(rows.view(torch.uint8))
            stagings = [staging.numpy() for _layers, staging in self._stagings()]
            blobs += [b"".join(staging[row].data for staging in stagings) for row in range(len(batch))]
        return blobs

    def write(self, pages: Sequence[int], blobs: Sequence[bytes | bytearray | memoryview]) -> None:
        """Writes bytes from `read` to pages. Errors: ValueError for another length."""
        wrong = next((len(blob) for blob in blobs if len(blob) != self.page_bytes), None)
        if wrong is not None:
            raise ValueError(f"expected pages of {self.page_bytes} bytes, got {wrong}")
        left = list(blobs)
        for batch in _batches(pages):
            views = [memoryview(blob) for blob in left[: len(batch)]]
            del left[: len(batch)]
            at = 0
            for layers, staging in self._stagings():
                size = staging.shape[1]
                for row, view in zip(staging.numpy(), views, strict=False):
                    row.data[:] = view[at : at + size]
                at += size
                self._put(layers, batch, staging[: len(batch)])
        self._wait()

    def _put(self, layers: range, batch: list[int], staging: Tensor) -> None:
        """Puts the layers' bytes of a batch, (pages, bytes), into its pages."""
        first = self.key_cache[layers[0]]
        rows = staging.to(first.device).view(first.dtype).view(len(batch), len(layers), *first.shape[1:])
        for place, number in enumerate(layers):
            self.key_cache[number][batch] = rows[:, place]

    def _stagings(self) -> list[tuple[range, Tensor]]:
        """For each run of layers on one device, main memory for their bytes of a batch: (BATCH, bytes), page-locked."""
        if not self._staging:
            devices = [layer.device for layer in self.key_cache]
            cuts = [n for n in range(1, len(devices)) if devices[n] != devices[n - 1]]
            for first, last in zip([0, *cuts], [*cuts, len(devices)], strict=True):
                size = (last - first) * self.key_cache[first][0].nbytes
                locked = devices[first].type == "cuda"
                self._staging.append(
                    (range(first, last), torch.empty(BATCH, size, dtype=torch.uint8, pin_memory=locked))
                )
        return self._staging

    def _wait(self) -> None:
        """A step may run on another stream than the one that has just changed pages."""
        for device in self.page_table_map:
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize(device)


def _batches(pages: Sequence[int]) -> list[list[int]]:
    return [list(pages[at : at + BATCH]) for at in range(0, len(pages), BATCH)]
