"""What the log says when experts cannot be streamed, or only at the disk's pace: no room for the ring, a slow disk."""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from expert_files import placed_layer

from leviathan_operators import install_experts as install
from leviathan_operators.experts.ring import Figures, Ring
from leviathan_operators.kernels.library import KernelError
from leviathan_operators.reference.operators import PlainOperators

NOTHING = Figures(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            KernelError("ring of 16 x 26345472 bytes: page-locked memory: out of memory"),
            "experts on cpu: all on the CPU: ring of 16 x 26345472 bytes: page-locked memory: out of memory",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 402.00 MiB.\nGPU 0 has a total capacity"),
            "experts on cpu: all on the CPU: CUDA out of memory. Tried to allocate 402.00 MiB.",
        ),
    ],
)
def test_no_room_for_the_ring_leaves_prompts_to_the_cpu(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page-locked memory that cannot be had, or a card that is full: one line, and the layer does not stream."""

    def full(*_arguments: Any) -> Ring:
        raise error

    monkeypatch.setattr(torch.cuda, "device", lambda _device: contextlib.nullcontext())
    monkeypatch.setattr(install, "Ring", full)
    said: list[str] = []
    placed = placed_layer()
    options = install.Options(None, {}, None)
    assert install._on_device(PlainOperators(), [placed], [placed.files], 2, options, {}, said.append) is None
    assert said == [words]
    assert not placed.module.device_layer.streams(1 << 20)


@pytest.mark.parametrize(("from_disk", "says"), [(0.0, False), (1e9, False), (30e9, True)])
def test_a_disk_that_experts_wait_for_is_named(from_disk: float, says: bool) -> None:
    """After a prompt whose experts were not in memory; not for one of which next to nothing was missing."""
    now = [NOTHING]
    rings: Any = {"cuda:0": SimpleNamespace(figures=lambda: now[0])}
    said: list[str] = []
    installed = install.Installed({}, rings, [], None, install.Options(None, {}, None), said.append)
    assert installed.after_prompt() is None  # nothing was streamed
    now[0] = Figures(1, 1, 1, 1, 60e9, from_disk)
    total = installed.after_prompt()
    assert total is not None
    assert total.bytes == 60e9
    assert bool(said) == says
    if says:
        assert said[0].startswith("experts: disk-bound: 30.0 of 60.0 GB that were streamed came from the disk")
        assert "raise the memory limit" in said[0]


def test_a_file_that_cannot_be_read_names_the_next_step() -> None:
    ring = object.__new__(Ring)
    trouble = b"the model's file cannot be read: Input/output error"
    ring.__dict__.update(_ring=1, _library=SimpleNamespace(leviathan_ring_error=lambda _ring: trouble))
    assert str(ring.failure()) == f"experts to the GPU: {trouble.decode()}; check the disk with dmesg on the node"
