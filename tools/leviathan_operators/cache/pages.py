"""The pool of the KV cache's free pages."""

from collections.abc import Iterable

#: Tokens in a page. KTransformers' decode kernel is compiled for this number.
PAGE_TOKENS = 64


class CacheFull(Exception):
    """More pages are needed than are free or can be evicted, because open sequences hold the others."""


class PagePool:
    """Pages by number, 0 to `count` - 1. A page is free or belongs to one owner: a sequence or a tree node."""

    def __init__(self, count: int) -> None:
        """Starts with `count` free pages."""
        self.count = count
        self._free = list(range(count - 1, -1, -1))
        self._taken = [False] * count

    @property
    def free(self) -> int:
        """Number of free pages."""
        return len(self._free)

    def take(self, wanted: int) -> list[int]:
        """Takes `wanted` free pages. Errors: CacheFull if fewer are free; then none is taken."""
        if wanted > len(self._free):
            raise CacheFull(f"{wanted} pages of the KV cache are needed, but {len(self._free)} are free")
        pages = [self._free.pop() for _ in range(wanted)]
        for page in pages:
            self._taken[page] = True
        return pages

    def give(self, pages: Iterable[int]) -> None:
        """Frees pages. Errors: ValueError for a page that is free already."""
        for page in pages:
            if not self._taken[page]:
                raise ValueError(f"page {page} is freed twice")
            self._taken[page] = False
            self._free.append(page)


def pages_for(tokens: int) -> int:
    """Returns the number of pages that hold `tokens` tokens."""
    return -(-tokens // PAGE_TOKENS)
