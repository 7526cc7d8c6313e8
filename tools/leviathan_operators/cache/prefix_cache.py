"""The prefix cache over the paged KV cache: a sequence opens with its longest cached prefix, and grows page by page.

Any number of sequences may be open at once; they share the pages of common prefixes. A closed sequence leaves its pages
in the cache.
"""

from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from .pages import PAGE_TOKENS, CacheFull, PagePool, pages_for
from .parked import Blob, ParkedPages, page_key, scope_key
from .radix_tree import Node, RadixTree

#: Maximum number of pages to park before they are evicted: 16,384 tokens. And the number of pages at a time.
AHEAD, BATCH = 256, 16


class PageStore(Protocol):
    """The memory behind page numbers."""

    def copy(self, source: int, target: int) -> None:
        """Copies a page."""

    def read(self, pages: Items[int]) -> list[Blob]:
        """Returns the bytes of pages."""

    def write(self, pages: Items[int], blobs: Items[Blob]) -> None:
        """Writes bytes to pages. Errors: ValueError for bytes that do not have the length of a page."""


@dataclass(eq=False)
class Sequence:
    """One conversation while it is read and answered.

    `ids` are the tokens whose keys and values are in the cache; `pages` hold them in order, and may have room for more.
    `reused` of the tokens were in the cache when it was opened.
    """

    scope: str
    ids: list[int]
    pages: list[int]
    reused: int
    shared: list[Node] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Number of tokens in the cache."""
        return len(self.ids)


class PrefixCache:
    """The pool, the tree and the parked pages together."""

    def __init__(self, pages: int, store: PageStore, parked: ParkedPages | None = None) -> None:
        """`store` has `pages` pages; `parked` keeps evicted ones."""
        self.pool = PagePool(pages)
        self.tree = RadixTree()
        self._store = store
        self._parked = ParkedPages(0) if parked is None else parked
        self._ahead = min(pages // 4, AHEAD, self._parked.room // 2)
        self.evicted = 0

    def open(self, ids: Items[int], scope: str = "", *, whole: bool = False) -> Sequence:
        """Opens a sequence for the prompt `ids`, with the longest cached prefix.

        The prefix never has the last token, which must be read for its logits, unless `whole` is true. Errors:
        CacheFull.
        """
        known = ids if whole else ids[:-1]
        match = self.tree.match(known, scope)
        shared = list(match.pages)
        for node in [*shared, *([match.part] if match.part else [])]:
            node.users += 1
        sequence = Sequence(scope, [], [node.page for node in shared], 0, shared)
        try:
            self._unpark(sequence, known)
            length = len(sequence.pages) * PAGE_TOKENS
            if match.part is not None and match.tokens > length and self._grow(sequence, 1):
                self._store.copy(match.part.page, sequence.pages[-1])
                length = match.tokens
        except BaseException:
            self._release(sequence, sequence.pages[len(match.pages) :])
            raise
        finally:
            if match.part is not None:
                match.part.users -= 1
        sequence.ids = list(known[:length])
        sequence.reused = length
        return sequence

    def reserve(self, sequence: Sequence, tokens: int) -> list[int]:
        """Makes room for `tokens` tokens in total; returns the pages that were added. Errors: CacheFull."""
        pages = self.take(max(0, pages_for(tokens) - len(sequence.pages)))
        sequence.pages += pages
        return pages

    def commit(self, sequence: Sequence, ids: Items[int]) -> None:
        """Adds tokens that were read into reserved room. Errors: ValueError without the room."""
        if len(sequence.pages) * PAGE_TOKENS < len(sequence.ids) + len(ids):
            raise ValueError(f"{len(sequence.ids) + len(ids)} tokens do not fit {len(sequence.pages)} pages")
        sequence.ids += ids

    def close(self, sequence: Sequence) -> None:
        """Closes a sequence; its pages stay in the cache for later sequences."""
        used = pages_for(len(sequence.ids))
        spare = sequence.pages[used:]
        self._release(sequence, spare + self.tree.insert(sequence.ids, sequence.pages[:used], sequence.scope))

    @property
    def used(self) -> int:
        """Number of pages that hold tokens, including those of earlier sequences."""
        return self.pool.count - self.pool.free

    @property
    def dropped(self) -> int:
        """Number of pages that were dropped because the disk was too slow."""
        return self._parked.dropped

    @property
    def parked(self) -> int:
        """Number of pages in main memory."""
        return len(self._parked)

    def take(self, wanted: int) -> list[int]:
        """Returns free pages; evicts the least recently used ones if needed. Errors: CacheFull."""
        missing = wanted - self.pool.free
        if missing > 0:
            self._evict(missing)
        return self.pool.take(wanted)

    def park_ahead(self) -> bool:
        """Parks some of the pages that would be evicted next, so that a later prompt need not wait for the copies.

        Call it while there is no job. Returns whether there may be more to do.
        """
        if not self._parked.keeps:
            return False
        next_ones = islice(self.tree.leaving(), max(0, self._ahead - self.pool.free))
        batch = list(islice(((node, key) for node, scope in next_ones if (key := self._unparked(node, scope))), BATCH))
        self._park(batch)
        return len(batch) == BATCH

    def settle(self, seconds: float) -> bool:
        """Waits at most `seconds` until parked pages are on disk, if they go there; returns whether they are."""
        return self._parked.settle(seconds)

    def _evict(self, missing: int) -> None:
        evicted = self.tree.evict(missing)
        self.evicted += len(evicted)
        if self._parked.keeps:
            self._park([(node, key) for node, scope in evicted if (key := self._unparked(node, scope))])
        self.pool.give([node.page for node, _ in evicted])

    def _unparked(self, node: Node, scope: str) -> bytes:
        """Returns the key of a page to park; empty for a parked page, and for one that is not full, because keys are
        for full pages."""
        if len(node.tokens) < PAGE_TOKENS:
            return b""
        key = _key(node, scope)
        return b"" if self._parked.holds(key) else key

    def _park(self, pages: Items[tuple[Node, bytes]]) -> None:
        if pages:
            blobs = self._store.read([node.page for node, _ in pages])
            for (_node, key), blob in zip(pages, blobs, strict=True):
                self._parked.park(key, blob)

    def _unpark(self, sequence: Sequence, ids: Items[int]) -> None:
        """Restores parked pages of `ids` after the sequence's pages, into new pages, as far as there is room."""
        if not self._parked.keeps:
            return
        have = len(sequence.pages)
        key = scope_key(sequence.scope)
        blobs: list[Blob] = []
        for index in range(len(ids) // PAGE_TOKENS):
            key = page_key(key, ids[index * PAGE_TOKENS :][:PAGE_TOKENS])
            if index < have:
                continue
            blob = self._parked.fetch(key)
            if blob is None:
                break
            blobs.append(blob)
        if blobs and self._grow(sequence, len(blobs)):
            self._store.write(sequence.pages[have:], blobs)

    def _grow(self, sequence: Sequence, wanted: int) -> bool:
        """Adds pages for restored tokens; without room, returns False, and the sequence reads the tokens again."""
        try:
            sequence.pages += self.take(wanted)
        except CacheFull:
            return False
        return True

    def _release(self, sequence: Sequence, pages: Items[int]) -> None:
        for node in sequence.shared:
            node.users -= 1
        self.pool.give(pages)
        sequence.shared, sequence.pages = [], []


def _key(node: Node, scope: str) -> bytes:
    if not node.key:
        key = scope_key(scope)
        for each in node.path():
            key = each.key = each.key or page_key(key, each.tokens)
    return node.key
