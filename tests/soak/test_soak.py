"""The soak and the fuzzer of heads, a few seconds of each; and that the soak finds what it looks for."""

from pathlib import Path
from typing import Any

import pytest
from http_fuzz import Fuzzer, fuzz

from soak import failures, soak

GOOD: dict[str, Any] = {
    "seconds": 60,
    "honest_seconds": {"count": 10},
    "lost": 0,
    "lost_first": [],
    "health_problems": [],
    "memory_mib": [60.0] * 60,
    "bad": {"one": 3},
    "alive": True,
}
WRONG = [
    ({"lost": 1, "lost_first": ["429"]}, "1 honest requests were lost"),
    ({"honest_seconds": {"count": 0}}, "no honest request was sent"),
    ({"health_problems": ["503"]}, "/health: "),
    ({"memory_mib": [60.0 + 4 * i for i in range(60)]}, "memory grew by"),
    ({"alive": False}, "a process has ended"),
    ({"bad": {"one": 0}}, "a kind never ran"),
]


def test_a_short_soak(tmp_path: Path) -> None:
    result = soak(6, tmp_path)
    assert failures(result) == []
    assert result["honest_seconds"]["count"] >= 64


@pytest.mark.parametrize(("change", "says"), WRONG)
def test_the_soak_finds_what_is_wrong(change: dict[str, Any], says: str) -> None:
    assert failures(GOOD) == []
    found = failures(GOOD | change)
    assert len(found) == 1
    assert found[0].startswith(says)


def test_heads_at_random() -> None:
    result = fuzz(3000, 60, seed=2)
    assert result["inputs"] == 3000
    assert {"200", "400", "403", "421"} <= set(result["answers"])


def test_the_fuzzer_finds_an_exception() -> None:
    fuzzer = Fuzzer()
    fuzzer._class.send_400_response = lambda _self, _msg: 1 // 0  # type: ignore[assignment, method-assign]
    with pytest.raises(ZeroDivisionError):
        fuzzer.feed([b"\0\r\n\r\n"])
