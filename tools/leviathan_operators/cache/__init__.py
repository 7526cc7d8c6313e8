"""The bookkeeping of the KV cache in plain Python: pages, the radix tree over token ids, sequences, parked pages.

Nothing here imports torch. A `PageStore` moves the bytes.
"""

from .pages import PAGE_TOKENS, CacheFull, PagePool
from .parked import ParkedPages, page_key
from .prefix_cache import PageStore, PrefixCache, Sequence
from .radix_tree import RadixTree

__all__ = [
    "PAGE_TOKENS",
    "CacheFull",
    "PagePool",
    "PageStore",
    "ParkedPages",
    "PrefixCache",
    "RadixTree",
    "Sequence",
    "page_key",
]
