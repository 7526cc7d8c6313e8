"""A radix tree over token ids with one page per node: finds cached prefixes, and the pages to evict first.

A node has the tokens of one page. A full page has 64 tokens and may have children; a page with fewer tokens is a leaf.
Pages in the tree never change: a sequence that continues from a part of a page uses a copy.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from .pages import PAGE_TOKENS

Tokens = tuple[int, ...]


@dataclass(eq=False, slots=True)
class Node:
    """One page in the tree. `users` counts open sequences that read the page; `used` is the time of the last use.

    `key` is the key of the parked page, computed on first use.
    """

    tokens: Tokens
    page: int
    parent: "Node | None"
    users: int = 0
    used: int = 0
    children: dict[int, list["Node"]] = field(default_factory=dict)
    key: bytes = b""

    def child(self, tokens: Tokens) -> "Node | None":
        """Returns the child with exactly these tokens, or None."""
        return next((node for node in self.children.get(tokens[0], ()) if node.tokens == tokens), None)

    def path(self) -> list["Node"]:
        """Returns the nodes from below the root to this one."""
        nodes: list[Node] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]


@dataclass(frozen=True)
class Match:
    """The longest prefix in the tree: full pages, and `part` with the number of its first tokens that match."""

    pages: tuple[Node, ...]
    part: Node | None = None
    part_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Number of tokens of the prefix."""
        return len(self.pages) * PAGE_TOKENS + self.part_tokens


class RadixTree:
    """One tree for each scope; scopes only share the pool of pages."""

    def __init__(self) -> None:
        """Starts empty."""
        self._roots: dict[str, Node] = {}
        self._clock = 0

    def match(self, ids: Sequence[int], scope: str = "") -> Match:
        """Finds the longest prefix of `ids` in the tree of `scope`, and marks its nodes as used."""
        node = self._roots.get(scope)
        pages: list[Node] = []
        part, length = None, 0
        while node is not None:
            rest = tuple(ids[len(pages) * PAGE_TOKENS :][:PAGE_TOKENS])
            child = node.child(rest) if len(rest) == PAGE_TOKENS else None
            if child is None:
                part, length = _closest(node, rest)
                break
            pages.append(child)
            node = child
        match = Match(tuple(pages), part, length)
        self._touch([*pages, *([part] if part else [])])
        return match

    def insert(self, ids: Sequence[int], pages: Sequence[int], scope: str = "") -> list[int]:
        """Adds the pages of `ids`; `pages[i]` holds ids[64 * i : 64 * i + 64], the last one the rest.

        Returns pages that the tree does not need: those whose tokens are already in another page, and pages of leaves
        that a longer one replaces. `pages` may have pages that are in the tree already.
        """
        node = self._roots.setdefault(scope, Node((), -1, None))
        unneeded: list[int] = []
        path: list[Node] = []
        for index, page in enumerate(pages):
            tokens = tuple(ids[index * PAGE_TOKENS :][:PAGE_TOKENS])
            child = node.child(tokens)
            if child is None and len(tokens) < PAGE_TOKENS:
                child = next((n for n in node.children.get(tokens[0], ()) if n.tokens[: len(tokens)] == tokens), None)
            if child is None:
                unneeded += self._drop_shorter(node, tokens)
                child = Node(tokens, page, node)
                node.children.setdefault(tokens[0], []).append(child)
            elif child.page != page:
                unneeded.append(page)
            path.append(child)
            node = child
        self._touch(path)
        return unneeded

    def evict(self, wanted: int) -> list[tuple[Node, str]]:
        """Removes up to `wanted` pages in the order of `leaving`; returns their nodes and scopes.

        A removed node keeps its `parent`.
        """
        evicted = list(islice(self.leaving(), wanted))
        for node, _scope in evicted:
            self._remove(node)
        return evicted

    def leaving(self) -> Iterator[tuple[Node, str]]:
        """Yields the nodes in the order of eviction, with their scopes: the least recently used leaves first. Leaves
        out pages that an open sequence uses, and those before them."""
        left = {id(node): sum(map(len, node.children.values())) for _scope, node in self.nodes() if node.children}
        heap = [(node.used, id(node), node, scope) for scope, node in self.nodes() if not node.children]
        heapq.heapify(heap)
        while heap:
            _used, _id, node, scope = heapq.heappop(heap)
            if node.users:
                continue
            yield node, scope
            parent = node.parent
            assert parent is not None
            if parent.parent is not None:
                left[id(parent)] -= 1
                if not left[id(parent)]:
                    heapq.heappush(heap, (parent.used, id(parent), parent, scope))

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """Yields every node with its scope; parents come before their children."""
        for scope, root in self._roots.items():
            stack = [root]
            while stack:
                node = stack.pop()
                if node.parent is not None:
                    yield scope, node
                stack += [child for children in node.children.values() for child in children]

    def _touch(self, nodes: Sequence[Node]) -> None:
        self._clock += 1
        for node in nodes:
            node.used = self._clock

    def _drop_shorter(self, parent: Node, tokens: Tokens) -> list[int]:
        """Removes leaves whose tokens are a prefix of `tokens`; returns their pages."""
        covered = [
            node
            for node in parent.children.get(tokens[0], ())
            if not node.users and node.tokens == tokens[: len(node.tokens)]
        ]
        for node in covered:
            self._remove(node)
        return [node.page for node in covered]

    def _remove(self, node: Node) -> None:
        parent = node.parent
        assert parent is not None
        siblings = parent.children[node.tokens[0]]
        siblings.remove(node)
        if not siblings:
            del parent.children[node.tokens[0]]


def _closest(node: Node, tokens: Tokens) -> tuple[Node | None, int]:
    """Returns the child with the longest common prefix, and the length of the prefix."""
    best, length = None, 0
    for child in node.children.get(tokens[0], ()) if tokens else ():
        common = _common(child.tokens, tokens)
        if common > length:
            best, length = child, common
    return best, length


def _common(a: Tokens, b: Tokens) -> int:
    """Returns the length of the common prefix."""
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))
