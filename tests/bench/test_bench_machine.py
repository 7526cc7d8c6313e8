"""The share of the CPUs that other work took."""

import os
import subprocess
import sys

import pytest

from bench import machine
from bench.machine import Moment, busy, others

STAT = "cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"


def test_busy_leaves_idle_waiting_and_stolen_time_out() -> None:
    assert busy(STAT) == (100 + 20 + 30 + 6 + 7) / os.sysconf("SC_CLK_TCK")


def test_others_is_what_is_neither_idle_nor_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    before = Moment(10.0, 1000.0, 5.0)
    assert others(before, Moment(20.0, 1015.0, 10.0)) == pytest.approx(0.5)
    assert others(before, Moment(20.0, 1005.0, 10.0)) == 0
    assert others(before, before) == 0


def test_a_child_that_ended_is_ours() -> None:
    before = machine.moment()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    after = machine.moment()
    assert after.own - before.own >= 0.4
    assert after.busy >= before.busy
