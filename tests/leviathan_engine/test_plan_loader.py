"""What the loader cannot read is refused from the header: each type, for the embedding and for what nothing reads."""

from dataclasses import replace

import pytest

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import GgmlType, Tensor
from leviathan_engine.model.reference import TINY, q4_k_m
from leviathan_engine.model.shape import read_shape
from leviathan_engine.plan import loader


@pytest.mark.parametrize("kind", sorted(set(GgmlType) - loader.CPU_TYPES))
def test_every_type_of_embedding_that_the_loader_cannot_unpack_is_refused(kind: GgmlType) -> None:
    model = q4_k_m(TINY)
    embedding = replace(model.tensors[loader.EMBEDDING], type=kind)
    with pytest.raises(GgufError, match=r"token_embd\.weight has type " + kind.name):
        loader.check(replace(model, tensors={**model.tensors, loader.EMBEDDING: embedding}), read_shape(model))


@pytest.mark.parametrize("kind", sorted(loader.CPU_TYPES))
def test_every_type_of_embedding_that_the_loader_unpacks_passes(kind: GgmlType) -> None:
    model = q4_k_m(TINY)
    embedding = replace(model.tensors[loader.EMBEDDING], type=kind)
    loader.check(replace(model, tensors={**model.tensors, loader.EMBEDDING: embedding}), read_shape(model))


@pytest.mark.parametrize("kind", [kind for kind in GgmlType if kind > GgmlType.BF16])
def test_a_type_that_ends_the_loaders_table_is_refused_though_nothing_reads_it(kind: GgmlType) -> None:
    model = q4_k_m(TINY)
    unread = Tensor("blk.61.nextn.eh_proj.weight", (256, 1), kind, 0)
    with pytest.raises(GgufError, match=f"eh_proj.weight has type {kind.name}, which stops"):
        loader.check(replace(model, tensors={**model.tensors, unread.name: unread}), read_shape(model))


def test_embedding_and_head_have_the_models_shape() -> None:
    model = q4_k_m(TINY)
    shape = read_shape(model)
    without = {name: each for name, each in model.tensors.items() if name != loader.EMBEDDING}
    with pytest.raises(GgufError, match=r"token_embd\.weight is missing"):
        loader.check(replace(model, tensors=without), shape)
    for name in (loader.EMBEDDING, "output.weight", "output_norm.weight"):
        other = replace(model.tensors[name], shape=tuple(2 * n for n in model.tensors[name].shape))
        with pytest.raises(GgufError, match=f"{name}: expected the shape"):
            loader.check(replace(model, tensors={**model.tensors, name: other}), shape)
