"""The budget and the size table: every excess and every hole is a finding."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from leviathan_image.budget import Budget, check, read_budget, rows
from leviathan_image.errors import ImageError
from leviathan_image.layer import Layer
from leviathan_image.table import as_json, as_text

_BUDGET = Budget(
    total=1_200,
    layers={"debian": 200, "torch": 1_000},
    big_files={"*/libbig.so": "the engine links it"},
    source="nix/budget.json",
)


def _layer(name: str, size: int, *biggest: tuple[str, int]) -> Layer:
    return Layer(name, f"sha256:{name}", size, f"sha256:tar-{name}", size * 2, 3, "", biggest, Path(name))


@pytest.fixture
def layers() -> list[Layer]:
    """An image that keeps the budget to the byte."""
    return [_layer("debian", 200), _layer("torch", 1_000, ("/opt/libbig.so", 60_000_000))]


def test_an_image_within_its_budget_has_no_finding(layers: list[Layer]) -> None:
    assert check(layers, _BUDGET) == []


@pytest.mark.parametrize(
    ("changed", "budget", "named"),
    [
        (lambda layers: [_layer("debian", 201), layers[1]], _BUDGET, "debian: 201 bytes compressed, 1 over its budget"),
        (lambda layers: [_layer("debian", 201), layers[1]], _BUDGET, "total: 1,201 bytes compressed, 1 over"),
        (lambda layers: [*layers, _layer("new", 0)], _BUDGET, "new: this layer has no budget"),
        (lambda layers: layers[1:], _BUDGET, "debian: there is a budget, but no such layer"),
        (lambda layers: layers, replace(_BUDGET, big_files={}), "/opt/libbig.so: 60,000,000 bytes, without a reason"),
        (
            lambda layers: layers,
            replace(_BUDGET, big_files={**_BUDGET.big_files, "*/old.so": "was needed"}),
            "*/old.so: matches no file over 50 MB",
        ),
    ],
)
def test_every_excess_and_hole_is_found(
    layers: list[Layer], changed: Callable[[list[Layer]], list[Layer]], budget: Budget, named: str
) -> None:
    assert any(named in finding.line() for finding in check(changed(layers), budget))


def test_the_rows_end_with_the_total(layers: list[Layer]) -> None:
    assert [
        (row.name, row.compressed, row.uncompressed, row.files, row.budget, row.ok) for row in rows(layers, _BUDGET)
    ] == [
        ("debian", 200, 400, 3, 200, True),
        ("torch", 1_000, 2_000, 3, 1_000, True),
        ("total", 1_200, 2_400, 6, 1_200, True),
    ]


def test_the_table_as_text(layers: list[Layer]) -> None:
    layers[0] = _layer("debian", 3_000_000)
    assert as_text(layers, _BUDGET).splitlines() == [
        "layer   compressed MB  unpacked MB  files  budget MB",
        "debian            3.0          6.0      3        0.0  OVER",
        "torch             0.0          0.0      3        0.0  ok",
        "total             3.0          6.0      6        0.0  OVER",
        "",
        "files over 50 MB",
        "    60.0 MB  /opt/libbig.so: the engine links it",
        "",
        "budget: debian: 3,000,000 bytes compressed, 2,999,800 over its budget of 200"
        " (remove what nothing loads, or raise the budget in nix/budget.json)",
        "budget: total: 3,001,000 bytes compressed, 2,999,800 over its budget of 1,200"
        " (remove what nothing loads, or raise the budget in nix/budget.json)",
    ]


def test_the_table_as_json(layers: list[Layer]) -> None:
    document = json.loads(as_json(layers, _BUDGET))
    assert document["ok"] is True
    assert document["layers"][2] == {
        "name": "total",
        "compressed": 1_200,
        "uncompressed": 2_400,
        "files": 6,
        "budget": 1_200,
        "ok": True,
    }
    assert document["big_files"] == [
        {"path": "/opt/libbig.so", "size": 60_000_000, "layer": "torch", "reason": "the engine links it"}
    ]
    over = json.loads(as_json([*layers, _layer("new", 1)], _BUDGET))
    assert over["ok"] is False
    assert {finding["where"] for finding in over["findings"]} == {"new", "total"}


def test_reads_a_budget(tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_text(json.dumps({"total_compressed": 5, "layers": {"a": 5}, "big_files": {"*/x": "why"}}))
    assert read_budget(path) == Budget(5, {"a": 5}, {"*/x": "why"}, str(path))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"total_compressed": None}, "lacks total_compressed"),
        ({"total_compressed": "3 GB"}, "total_compressed is '3 GB'"),
        ({"layers": []}, "layers: expected an object, got []"),
        ({"layers": {"a": -1}}, "layers.a is -1"),
        ({"layers": {"a": 1.5}}, "layers.a is 1.5"),
        ({"big_files": {"*/x": ""}}, "big_files.*/x is ''"),
        ({"big_files": {"*/x": 5}}, "big_files is {'*/x': 5}"),
        ({"limit": 1}, "unknown key limit"),
    ],
)
def test_a_malformed_budget_is_named(tmp_path: Path, change: dict[str, object], named: str) -> None:
    document = {"total_compressed": 5, "layers": {"a": 5}, "big_files": {"*/x": "why"}, **change}
    path = tmp_path / "budget.json"
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))
    with pytest.raises(ImageError) as caught:
        read_budget(path)
    assert named in caught.value.line()
