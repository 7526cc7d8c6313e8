"""The repository's own tables: they parse, and what they say is consistent."""

from pathlib import Path

import pytest

from leviathan_image.budget import read_budget
from leviathan_image.devicecode import read_exceptions as read_device_exceptions
from leviathan_image.hygiene.exceptions import read_exceptions as read_hygiene_exceptions

_NIX = Path(__file__).parents[2] / "nix"


def test_the_budget_is_within_its_total() -> None:
    budget = read_budget(_NIX / "budget.json")
    assert budget.layers.keys() == {"debian", "torch", "python", "engine", "launcher"}
    assert sum(budget.layers.values()) <= budget.total <= 3_600_000_000
    assert budget.big_files


@pytest.mark.parametrize("name", ["libtorch_cuda.so", "libcublasLt.so.12", "triton_shipped_cache"])
def test_device_code_exceptions_say_what_and_why(name: str) -> None:
    (exempt,) = [item for item in read_device_exceptions(_NIX / "device-code-exceptions.json") if name in item.glob]
    assert {"sm_90a", "sm_120a"} <= exempt.carries
    assert len(exempt.why) > 20
    assert exempt.spread == (name == "triton_shipped_cache")


def test_no_exception_covers_the_engine() -> None:
    globs = [item.glob for item in read_device_exceptions(_NIX / "device-code-exceptions.json")]
    tables = read_hygiene_exceptions(_NIX / "hygiene-exceptions.json")
    globs += [glob for table in tables.values() for glob in table]
    assert len(globs) > 20
    assert not any(word in glob for glob in globs for word in ("KTransformersOps", "cpuinfer", "ktransformers"))
