"""The number of threads for the CPU experts: candidates, choice and memory, with recorded times."""

import json
from pathlib import Path

import pytest

from leviathan_engine.machine.cpu import threads
from leviathan_engine.model.reference import DEEPSEEK_V3
from leviathan_engine.worker.thread_choice import Choice, Circumstances, candidates, choose, measure, quickest

HERE = Circumstances("Xeon", 15, 16, "sapphirerapids", 10_000_000_000)

# Milliseconds by --cpu_infer, as measured: a token on 16 CPUs of a Sapphire Rapids Xeon (two machines of the kind, two
# builds), and a small layer on 2 CPUs of a busy Zen 4 (with this project's patches).
RECORDED = {
    "first Xeon": ({14: 226.0, 16: 393.0}, 14),
    "second Xeon": ({12: 55.5, 14: 47.7, 15: 44.7, 16: 45.7}, 15),
    "second Xeon, x86-64-v3": ({13: 53.4, 15: 55.0}, 13),
    "two CPUs": ({2: 0.455, 3: 0.243, 4: 0.278}, 3),
    "made up: one thread more for half a per cent is not worth it": ({7: 88.0, 8: 87.5}, 7),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_machines(name: str) -> None:
    times, wanted = RECORDED[name]
    assert quickest({count: ms / 1e3 for count, ms in times.items()}) == wanted


@pytest.mark.parametrize(
    ("computed", "most", "cores", "wanted"),
    [
        (15, 15, 16, (11, 13, 14, 15)),  # 16 CPUs, one hardware thread a core
        (87, 95, 96, (71, 87, 93, 94, 95)),  # 96 cores
        (57, 63, 32, (31, 32, 33, 47, 57, 61, 62, 63)),  # 64 hardware threads of 32 cores
        (2, 2, 1, (2,)),
        (2, 1, 1, (2,)),  # one CPU: what the engine runs with at least
    ],
)
def test_candidates(computed: int, most: int, cores: int, wanted: tuple[int, ...]) -> None:
    assert candidates(computed, most, cores) == wanted


@pytest.mark.parametrize(("cpus", "most"), [(16, 15), (3, 2), (2, 2), (1, 2), (96, 95)])
def test_a_cpu_is_left_for_the_engines_other_threads(cpus: int, most: int) -> None:
    found = threads(DEEPSEEK_V3, None, cpus, cpus)
    assert (found.most, found.count <= most) == (most, True)
    assert threads(DEEPSEEK_V3, 1000, cpus, cpus).most == most
    assert threads(DEEPSEEK_V3, 8, 96, 96).most == 8  # what the user gives is the most


def test_a_measurement_takes_turns_and_keeps_the_shortest() -> None:
    asked: list[int] = []
    spent = {2: iter([9.0, 3.0, 2.0, 4.0]), 3: iter([1.0, 5.0, 6.0, 7.0])}

    def step(count: int) -> float:
        asked.append(count)
        return next(spent[count])

    assert measure((2, 3), step, clock=lambda: 0.0) == {2: 2.0, 3: 5.0}  # 1.0 was the warm-up
    assert asked == [2, 3] * 4


def test_a_step_that_waits_for_the_disk_is_not_measured() -> None:
    now = [0.0]

    def step(_count: int) -> float:
        now[0] += 1.0
        return 1.0

    assert measure((2, 3), step, budget=1.5, clock=lambda: now[0]) == {}
    now[0] = 0.0
    assert measure((2, 3), step, budget=3.5, clock=lambda: now[0]) == {2: 1.0, 3: 1.0}  # only one round


def times(count: int) -> float:
    return {11: 0.06, 13: 0.055, 14: 0.05, 15: 0.2}[count]


def test_the_choice_is_kept_for_the_machine(tmp_path: Path) -> None:
    file, calls = tmp_path / "threads.json", [0]

    def step() -> object:
        calls[0] += 1
        return times

    def asked(here: Circumstances) -> Choice:
        return choose(here, 15, step, file)  # type: ignore[arg-type]

    first = asked(HERE)
    assert (first.count, first.rate) == (14, 10_000_000_000 / 0.05)
    assert first.how == "measured (11: 60.0 ms, 13: 55.0 ms, 14: 50.0 ms, 15: 200.0 ms)"
    again = asked(HERE)
    assert (again.count, again.rate, calls[0]) == (14, first.rate, 1)
    assert again.how == f"measured at an earlier start, from {file}"
    asked(Circumstances("Xeon", 15, 16, "x86-64-v3", 10_000_000_000))
    assert calls[0] == 2  # another build is another machine


@pytest.mark.parametrize("text", ["", "{", "[]", '{"count": 14}', '{"count": "x", "circumstances": {}}'])
def test_a_file_that_says_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "threads.json"
    file.write_text(text)
    assert choose(HERE, 15, lambda: times, file).count == 14
    assert json.loads(file.read_text())["count"] == 14


def test_a_count_above_the_limit_is_not_taken_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "threads.json"
    assert choose(HERE, 15, lambda: times, file).count == 14
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"count": 64}))
    assert choose(HERE, 15, lambda: times, file).how.startswith("measured (")


def test_without_a_measurement_the_computed_count_stays(tmp_path: Path) -> None:
    def step(_count: int) -> float:
        return 100.0

    found = choose(HERE, 15, lambda: step, tmp_path / "none" / "threads.json", budget=-1)
    assert (found.count, found.rate) == (15, None)
    assert found.how.startswith("computed, because a measurement takes more than")
