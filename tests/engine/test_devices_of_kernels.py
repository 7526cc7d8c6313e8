"""On several GPUs: a kernel, and a ring's events, are for the tensor's GPU, whichever is torch's current one."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from leviathan_operators.experts.ring import Ring
from leviathan_operators.kernels import library as library_module
from leviathan_operators.kernels.decode import DecodeKernels
from leviathan_operators.kernels.library import KernelError, Library

FIRST, SECOND = torch.device("cuda:0"), torch.device("cuda:1")


class Cuda:
    """Stands for CUDA: a current device, and calls that remember it. Every device has the default stream, 0."""

    def __init__(self) -> None:
        self.current = FIRST
        self.calls: list[tuple[str, torch.device, tuple[Any, ...]]] = []
        self.code = 0

    @contextmanager
    def device(self, device: torch.device) -> Any:
        before, self.current = self.current, device
        try:
            yield
        finally:
            self.current = before

    def current_device(self) -> int:
        return int(self.current.index)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append((name, self.current, arguments))
            return self.code

        return call


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()
    monkeypatch.setattr(torch.cuda, "device", fake.device)
    monkeypatch.setattr(torch.cuda, "current_device", fake.current_device)
    monkeypatch.setattr(library_module, "raw_stream", lambda _device: 0)
    return fake


def library(cuda: Cuda) -> Library:
    out = object.__new__(Library)
    out._library = cuda  # type: ignore[assignment]
    return out


def on(device: torch.device) -> Any:
    return SimpleNamespace(device=device)


@pytest.mark.parametrize("device", [FIRST, SECOND])
def test_a_kernel_starts_on_its_tensors_gpu(cuda: Cuda, device: torch.device) -> None:
    kernels = object.__new__(DecodeKernels)
    kernels.__dict__["_library"] = library(cuda)
    kernels._do("norm", on(device), 1, None)
    assert cuda.calls == [("leviathan_norm", device, (1, 0, 0))]
    assert cuda.current == FIRST


def test_a_kernel_that_cuda_refuses_is_named(cuda: Cuda) -> None:
    cuda.code = 400
    with pytest.raises(KernelError, match="norm: CUDA error 400"):
        library(cuda).call("norm", on(SECOND))


def test_a_rings_events_are_on_its_gpu(cuda: Cuda) -> None:
    ring = object.__new__(Ring)
    ring.__dict__.update(_ring=7, _library=library(cuda), device=SECOND)
    ring.release(3, 0)
    cuda.code = 4096
    assert ring.wait(4, 0) == 4096
    assert [(name, device) for name, device, _ in cuda.calls] == [
        ("leviathan_ring_release", SECOND),
        ("leviathan_ring_wait", SECOND),
    ]
