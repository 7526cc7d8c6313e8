"""Random trees of conversations over a few pages: what is reused is what re-reading would give, and no page is lost."""

from collections.abc import Sequence as Items

import pytest
from fake_store import FakeStore, digests
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from leviathan_operators.cache import PAGE_TOKENS, CacheFull, ParkedPages, PrefixCache, Sequence
from leviathan_operators.cache.pages import pages_for

SCOPES = st.sampled_from(["", "key one", "key two"])


def read(cache: PrefixCache, store: FakeStore, sequence: Sequence, ids: Items[int]) -> None:
    """Reads the rest of `ids` into an open sequence."""
    done = sequence.length
    cache.reserve(sequence, len(ids))
    store.feed(sequence.pages, done, digests(ids, sequence.scope)[done:])
    cache.commit(sequence, ids[done:])


def talk(cache: PrefixCache, store: FakeStore, ids: Items[int], scope: str = "") -> int:
    """A whole conversation; returns how many tokens were reused."""
    sequence = cache.open(ids, scope)
    assert store.held(sequence.pages, sequence.reused) == digests(ids, scope)[: sequence.reused]
    read(cache, store, sequence, ids)
    cache.close(sequence)
    return sequence.reused


class Conversations(RuleBasedStateMachine):
    """Sequences open, grow, are cut off and close in any order, over too few pages for all of them."""

    texts = Bundle("texts")
    running = Bundle("running")

    @initialize(pages=st.integers(4, 24), parked=st.integers(0, 12))
    def begin(self, pages: int, parked: int) -> None:
        self.store = FakeStore(pages)
        self.cache = PrefixCache(pages, self.store, ParkedPages(parked))
        self.open: list[Sequence] = []
        self.counter = 0

    @rule(target=texts, length=st.integers(1, 3 * PAGE_TOKENS))
    def new_text(self, length: int) -> list[int]:
        self.counter += 1
        return [0, *(self.counter * 1000 + n for n in range(length))]

    @rule(target=texts, text=texts, keep=st.floats(0, 1), more=st.integers(1, 2 * PAGE_TOKENS))
    def branch(self, text: list[int], keep: float, more: int) -> list[int]:
        self.counter += 1
        return text[: max(1, round(len(text) * keep))] + [self.counter * 1000 + n for n in range(more)]

    @rule(target=running, text=texts, scope=SCOPES)
    def start(self, text: list[int], scope: str) -> tuple[Sequence, list[int]]:
        sequence = self.cache.open(text, scope)
        assert sequence.reused < len(text)
        assert sequence.ids == text[: sequence.reused]
        assert self.store.held(sequence.pages, sequence.reused) == digests(text, scope)[: sequence.reused]
        self.open.append(sequence)
        return sequence, text

    @rule(pair=running, share=st.floats(0, 1))
    def chunk(self, pair: tuple[Sequence, list[int]], share: float) -> None:
        sequence, text = pair
        if not any(sequence is each for each in self.open):
            return
        goal = sequence.length + round((len(text) - sequence.length) * share)
        try:
            read(self.cache, self.store, sequence, text[:goal])
        except CacheFull:
            assert len(self.open) > 1 or pages_for(goal) > self.cache.pool.count
        assert self.store.held(sequence.pages, sequence.length) == digests(text, sequence.scope)[: sequence.length]

    @rule()
    def rest(self) -> None:
        self.cache.park_ahead()

    @rule(pair=consumes(running))
    def stop(self, pair: tuple[Sequence, list[int]]) -> None:
        sequence, _text = pair
        self.cache.close(sequence)
        self.open = [each for each in self.open if each is not sequence]

    @invariant()
    def every_page_has_one_owner(self) -> None:
        if not hasattr(self, "cache"):
            return
        tree = [node.page for _scope, node in self.cache.tree.nodes()]
        own = [page for sequence in self.open for page in sequence.pages if page not in tree]
        assert len(set(tree)) == len(tree)
        assert len(set(own)) == len(own)
        assert len(tree) + len(own) + self.cache.pool.free == self.cache.pool.count

    @invariant()
    def users_are_the_open_sequences(self) -> None:
        if not hasattr(self, "cache"):
            return
        users = sum(node.users for _scope, node in self.cache.tree.nodes())
        assert users == sum(len(sequence.shared) for sequence in self.open)


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_with_room_the_longest_prefix_is_reused(data: st.DataObject) -> None:
    store = FakeStore(200)
    cache = PrefixCache(200, store)
    talks: list[list[int]] = []
    for number in range(data.draw(st.integers(2, 8))):
        base = data.draw(st.sampled_from(talks)) if talks else []
        keep = data.draw(st.integers(0, len(base)))
        ids = base[:keep] + [number * 10000 + n for n in range(data.draw(st.integers(1, 150)))]
        known = max((common(ids[:-1], other) for other in talks), default=0)
        assert talk(cache, store, ids) == known
        talks.append(ids)
    assert cache.evicted == 0


def common(a: Items[int], b: Items[int]) -> int:
    """Length of the common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def test_a_chat_of_ten_turns_reads_only_what_is_new() -> None:
    store = FakeStore(128)
    cache = PrefixCache(128, store)
    ids: list[int] = []
    for turn in range(10):
        before = len(ids)
        ids = ids + [turn * 1000 + n for n in range(400)]
        assert talk(cache, store, ids) == before


def test_a_whole_prompt_may_be_known() -> None:
    """For one whose logits were kept; without that its last token is left to be read."""
    store = FakeStore(32)
    cache = PrefixCache(32, store)
    ids = list(range(200))
    talk(cache, store, ids)
    for whole, known in ((True, 200), (False, 199)):
        sequence = cache.open(ids, whole=whole)
        assert sequence.reused == known
        assert store.held(sequence.pages, known) == digests(ids)[:known]
        cache.close(sequence)


def test_another_key_reuses_nothing() -> None:
    store = FakeStore(32)
    cache = PrefixCache(32, store, ParkedPages(32))
    ids = list(range(500))
    assert talk(cache, store, ids, "key one") == 0
    assert talk(cache, store, ids, "key two") == 0
    assert talk(cache, store, ids, "key one") == 499


def test_the_least_recently_used_conversation_leaves_first() -> None:
    store = FakeStore(12)
    cache = PrefixCache(12, store)
    first, second, third = ([number * 1000 + n for n in range(256)] for number in range(3))
    for ids in (first, second, third):
        talk(cache, store, ids)
    assert cache.evicted == 0
    talk(cache, store, [*first, 1])  # a page more; the second conversation is the oldest now
    assert cache.evicted == 1
    assert talk(cache, store, second) == 192
    assert talk(cache, store, first) == 255


def test_what_is_parked_comes_back() -> None:
    store = FakeStore(4)
    cache = PrefixCache(4, store, ParkedPages(8))
    first, second = ([number * 1000 + n for n in range(256)] for number in range(2))
    talk(cache, store, first)
    talk(cache, store, second)
    assert cache.evicted == 4
    assert talk(cache, store, first) == 192  # whole pages only
    assert talk(cache, store, second) == 192


def test_a_bound_of_parked_pages_is_kept() -> None:
    store = FakeStore(4)
    parked = ParkedPages(2)
    cache = PrefixCache(4, store, parked)
    for number in range(5):
        talk(cache, store, [number * 1000 + n for n in range(256)])
    assert len(parked) == 2


def test_a_cancelled_prompt_keeps_its_finished_chunks() -> None:
    store = FakeStore(16)
    cache = PrefixCache(16, store)
    ids = list(range(600))
    sequence = cache.open(ids)
    read(cache, store, sequence, ids[:200])
    cache.reserve(sequence, 400)  # the chunk that was under way
    cache.close(sequence)
    assert cache.pool.free == 16 - pages_for(200)
    assert talk(cache, store, ids) == 200


def test_a_conversation_may_fill_the_whole_cache() -> None:
    store = FakeStore(4)
    cache = PrefixCache(4, store)
    ids = list(range(4 * PAGE_TOKENS))
    talk(cache, store, ids[:-5])
    assert talk(cache, store, ids) == 3 * PAGE_TOKENS  # no page is left for a copy of the last one
    with pytest.raises(CacheFull, match="5 pages"):
        talk(cache, store, [*range(1000, 1000 + 5 * PAGE_TOKENS)])


def test_a_page_cannot_be_given_back_twice() -> None:
    cache = PrefixCache(4, FakeStore(4))
    pages = cache.take(2)
    cache.pool.give(pages)
    with pytest.raises(ValueError, match="freed twice"):
        cache.pool.give(pages[:1])
    with pytest.raises(ValueError, match="do not fit"):
        cache.commit(cache.open([1, 2, 3]), [1])
