"""Experts change places between answers, in place: tables, slots and addresses, against a plain computation."""

from pathlib import Path

import pytest
import torch
from expert_files import CHOICES, EXPERTS, LIMIT, distance, given, layers

from leviathan_operators.experts.counts import PLACEMENT, PlacementFile, UseFile, Uses
from leviathan_operators.experts.device import DeviceLayer
from leviathan_operators.experts.installed import Installed, Options
from leviathan_operators.experts.products import Products
from leviathan_operators.experts.replacing import OnDevice
from leviathan_operators.experts.resident import load
from leviathan_operators.reference.expert_layer import experts
from leviathan_operators.reference.operators import PlainOperators, PlainRing

CPU = torch.device("cpu")
START = {0: (0, 1), 1: (2, 3)}


class Device:
    """Two layers of experts on the CPU as a device, two of each resident."""

    def __init__(self, folder: Path) -> None:
        self.files, self.blocks = layers(folder, 2)
        self.held = load(PlainRing(), self.files, START, 0)
        self.uses = torch.zeros(2, EXPERTS, dtype=torch.int64)
        products = Products(PlainOperators(), self.files, CPU)
        self.layers = [
            DeviceLayer(PlainOperators(), f, CHOICES, CPU, row) for f, row in zip(self.files, self.uses, strict=True)
        ]
        for layer in self.layers:
            layer.keep(self.held[layer.files.layer].resident, products)
        self.here = OnDevice(self.uses, self.files, PlainRing(), self.held)

    def right(self) -> bool:
        """Whether every layer computes its resident experts, and those alone, for one token and for many."""
        errors = []
        for number, layer in enumerate(self.layers):
            for tokens in (1, 12):
                x, ids, weights = given(tokens, number)
                there = torch.tensor(self.here.placement[number])
                layer.route(ids)
                got = layer.resident(x, weights)
                assert got is not None
                exact = experts(
                    self.blocks[number], x, torch.where(torch.isin(ids, there), ids, -1), weights, torch.float64
                )
                errors.append(distance(got, exact) if exact.norm() else float(got.norm()))
        return max(errors) < LIMIT


def test_experts_that_are_wanted_more_take_the_places(tmp_path: Path) -> None:
    device = Device(tmp_path)
    assert device.right()
    counts = {0: [0, 900, 0, 0, 0, 500], 1: [0, 0, 10, 1000, 2000, 0]}
    tables = [layer.table for layer in device.layers]
    moves = device.here.follow(counts)
    assert {(m.layer, m.expert) for m in moves} == {(1, 4), (0, 5)}
    assert {(m.from_layer, m.leaving) for m in moves} == {(0, 0), (1, 2)}
    assert device.here.placement == {0: (1, 5), 1: (3, 4)}
    assert all(
        layer.table is table for layer, table in zip(device.layers, tables, strict=True)
    )  # a graph has its address
    assert device.right()
    assert not device.here.follow(counts)


def test_a_few_uses_move_nothing(tmp_path: Path) -> None:
    device = Device(tmp_path)
    assert not device.here.follow({0: [0, 0, 60, 60, 60, 60], 1: [0] * EXPERTS})
    assert not device.here.follow({0: [1000, 1000, 1200, 0, 0, 0], 1: [0, 0, 1000, 1000, 0, 0]})
    assert device.here.placement == START


def test_uses_are_found_by_where_the_experts_were(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.uses[0, 1] += 30
    device.uses[1, 4] += 70
    device.here.follow({0: [0] * EXPERTS, 1: [0, 0, 0, 0, 700, 0]})
    device.uses[1, 4] += 100
    assert device.here.counted() == {0: [0, 30, 0, 0, 0, 0], 1: [0, 0, 0, 0, 170, 0]}
    assert (device.here.found, device.here.chosen) == (130, 200)


@pytest.mark.parametrize("frozen", [False, True])
def test_between_answers(tmp_path: Path, frozen: bool) -> None:
    """Counts are written once a minute; then experts move, unless frozen, and the placement is kept."""
    device = Device(tmp_path)
    said: list[str] = []
    now = [0.0]
    uses = Uses(UseFile(tmp_path / "uses.json", [0, 1], EXPERTS), said.append, lambda: now[0])
    installed = Installed({}, {}, [device.here], uses, Options(state=tmp_path, frozen=frozen), said.append)
    assert installed.hit_ratio() is None
    device.uses[1, 5] += 500
    assert not installed.rest()
    assert device.here.placement == START
    assert installed.hit_ratio() == 0
    now[0] += 61
    assert installed.rest() is not frozen
    assert not installed.rest()
    moved = 5 in device.here.placement[1]
    assert moved is not frozen
    assert any("changed places" in line for line in said) is not frozen
    kept = PlacementFile(tmp_path / PLACEMENT).read({0: EXPERTS, 1: EXPERTS})
    assert kept == (None if frozen else device.here.placement)
    assert uses.write({0: [0] * EXPERTS, 1: [0] * EXPERTS})[1] == [0] * EXPERTS
