"""The load's parts: clients that survive an error, memory judged by its low-water marks, the network's counters."""

import itertools
import time
import urllib.error
from pathlib import Path

import pytest

from e2e.scenarios import memory, network_counters
from e2e.scenarios.clients import KEPT, Answer, Crowd, refused
from e2e.scenarios.engine_processes import ALL, engine_processes
from e2e.scenarios.memory import EARLY, GROWTH, LATE, Sample, growth, low, sampled

PLATEAU = [(0, 485), (40, 490), (60, 511), (90, 518), (128, 520)]  # seconds and MB, as runs had them


def grown(leak: float = 0.0, trims: bool = True) -> list[Sample]:
    """A run's samples, one a second, that rise as `PLATEAU` does and by `leak` bytes a second besides.

    `trims`: whether the heap is trimmed every 35 seconds, by up to 20 MB of what is above the beginning.
    """
    samples = []
    for second in range(128):
        (x0, y0), (x1, y1) = next(pair for pair in itertools.pairwise(PLATEAU) if pair[0][0] <= second < pair[1][0])
        size = y0 + (y1 - y0) * (second - x0) / (x1 - x0)
        size = max(PLATEAU[0][1], size - 20) if trims and second % 35 < 3 else size
        samples.append(Sample(second, int(size * 1e6 + leak * second)))
    return samples


@pytest.mark.parametrize("trims", [True, False])
def test_a_plateau_passes_and_a_leak_of_34_mb_in_43_s_does_not(trims: bool) -> None:
    assert growth(grown(trims=trims), 120) <= GROWTH
    assert growth(grown(34e6 / 43, trims), 120) > GROWTH


def test_a_leak_with_no_other_growth_beside_it() -> None:
    steady = [Sample(second, int(5e8 + second * 34e6 / 43)) for second in range(120)]
    assert growth(steady, 120) > GROWTH


def test_what_comes_after_the_last_request_is_not_judged() -> None:
    fallen = [Sample(second, 10 if second > 100 else 500 + second) for second in range(120)]
    assert low(fallen, LATE, 100) == 500 + 67
    assert low(fallen, EARLY, 100) == 500 + 17


def test_too_few_samples_are_no_plateau() -> None:
    with pytest.raises(ValueError, match="3 samples of memory in a part of the load, wanted 10"):
        growth([one for one in grown() if not 43 < one.seconds < 118], 120)


def test_samples_are_taken_as_long_as_the_block_runs() -> None:
    with sampled(lambda: 7, pause=0.01) as samples:
        time.sleep(0.2)
    assert len(samples) > 3
    assert {one.size for one in samples} == {7}
    count = len(samples)
    time.sleep(0.05)
    assert len(samples) == count


def test_an_error_beside_a_block_is_raised_at_its_end() -> None:
    turns = itertools.count()

    def third_fails() -> int:
        if next(turns) == 2:
            raise OSError("gone")
        return 7

    with pytest.raises(OSError, match="gone"), sampled(third_fails, pause=0.01) as samples:
        time.sleep(0.2)
    assert len(samples) == 2
    assert next(turns) == 3


def test_a_process_that_is_gone_has_no_memory() -> None:
    assert memory.anonymous_of(2**22 + 1) == 0
    assert engine_processes(2**22 + 1, ALL) == []


def test_every_client_goes_on_after_an_error_and_all_are_counted() -> None:
    calls = itertools.count()

    def ask(prompt: str) -> Answer:
        if next(calls) % 3 == 0:
            raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))
        return Answer(prompt if prompt != "b" else "another's", whole=prompt != "c")

    errors: list[Exception] = []
    crowd = Crowd(["a", "b", "c"], ["a", "b", "c"], 1.5, errors.append, ask)
    crowd.run()
    assert crowd.failed == len(errors) > 3
    assert len(crowd.failures) == min(crowd.failed, KEPT)
    seconds, client, text = crowd.failures[0]
    assert 0 <= seconds < 1.5
    assert client in (0, 1, 2)
    assert "ConnectionRefusedError(111" in text
    assert crowd.answers > 3
    assert crowd.tallies[0].different == crowd.tallies[0].torn == 0
    assert crowd.tallies[1].different == crowd.tallies[1].answers
    assert crowd.tallies[2].torn == crowd.tallies[2].answers


def test_a_refused_connection_is_told_from_other_errors() -> None:
    assert refused(urllib.error.URLError(ConnectionRefusedError()))
    assert refused(ConnectionRefusedError())
    assert not refused(urllib.error.URLError(TimeoutError()))
    assert not refused(ConnectionResetError())


def test_the_kernels_counters_are_read_by_name(tmp_path: Path) -> None:
    own = network_counters.counters()
    assert own["Tcp.OutRsts"] >= 0
    assert own["Icmp.OutDestUnreachs"] >= 0
    assert own["TcpExt.ListenOverflows"] >= 0
    assert network_counters.counters(2**22 + 1) == {}
    folder = tmp_path / "9" / "net"
    folder.mkdir(parents=True)
    (folder / "snmp").write_text("Tcp: OutRsts InErrs\nTcp: 12 3\nIcmp: InMsgs OutDestUnreachs\nIcmp: 1 4\n")
    assert network_counters.counters(9, tmp_path) == {
        "Tcp.InErrs": 3,
        "Tcp.OutRsts": 12,
        "Icmp.OutDestUnreachs": 4,
    }


def test_the_nodeports_rules_are_kept_with_their_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "iptables-save"
    lines = [
        "*nat",
        ":KUBE-NODEPORTS - [0:0]",
        '[4:240] -A KUBE-NODEPORTS -d 127.0.0.0/8 -m comment --comment "ai-workloads/leviathan-inference:http"',
        "[1:60] -A PREROUTING -j KUBE-SERVICES",
        "[2:120] -A KUBE-EXTERNAL-SERVICES -p tcp --dport 30000 -j REJECT",
    ]
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert network_counters.rules() == [lines[2], lines[4]]
    assert network_counters.snapshot({"node": "self"})["rules"] == [lines[2], lines[4]]
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert network_counters.rules() == []
