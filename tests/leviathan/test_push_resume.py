"""push that resumes after a cut, a refused range, a kill or a stop: no byte that arrived is sent twice."""

import threading
import time
from pathlib import Path

import pytest
from fakes.fault_registry import Fault, FaultRegistry, Rules
from fakes.replay_api import until
from push_fault_support import holds, run
from push_support import MIB, TAG, Layout, kill_group, make_around, make_layout, make_site, start_cli

from leviathan.errors import RegistryError
from leviathan.push.push_image import push
from leviathan.registry.attempts import Stopped
from leviathan.terminal.progress import Meter

pytestmark = pytest.mark.usefixtures("meters")


@pytest.mark.parametrize("percent", range(0, 100, 10))
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "forgotten"])
def test_cut_at(percent: int, keep: bool, layout: Layout, tmp_path: Path) -> None:
    """A connection cut at each tenth of the biggest blob; the registry keeps what it got of the chunk, or not."""
    size = layout.blobs[layout.biggest]
    at = size * percent // 100
    fault = Fault("PATCH", cut_at=at, keep=keep)
    with FaultRegistry(fault).serve() as registry:
        _, talk = run(registry, layout, tmp_path, push_parallel="1")
        assert fault.times == 0, "the fault never happened"
        assert holds(registry, layout)
        again = registry.taken - sum(layout.blobs.values())
        assert again == (0 if keep else at % MIB)
        assert "connection lost" in talk


def test_cut_of_each_chunk_still_arrives(layout: Layout, tmp_path: Path) -> None:
    """More cuts than retries: each brings new bytes, so the count starts again."""
    size = layout.blobs[layout.biggest]
    faults = [Fault("PATCH", cut_at=size * percent // 100) for percent in range(5, 100, 5)]
    with FaultRegistry(*faults).serve() as registry:
        run(registry, layout, tmp_path, push_parallel="1", push_retries="1")
        assert all(fault.times == 0 for fault in faults)
        assert registry.taken == sum(layout.blobs.values())


@pytest.mark.parametrize("at", [5, MIB + 5, 2 * MIB + 5])
def test_registry_that_cannot_resume_in_a_chunk(at: int, layout: Layout, tmp_path: Path) -> None:
    """As distribution 2.x: after a cut the upload's address is no longer good; the blob starts again, and says so.

    What is sent again is what the registry had of the blob, to the byte.
    """
    fault = Fault("PATCH", cut_at=at)
    with FaultRegistry(fault, rules=Rules(offset_in_location=True)).serve() as registry:
        _, talk = run(registry, layout, tmp_path, push_parallel="1")
        assert holds(registry, layout)
        assert fault.times == 0
        assert registry.taken == sum(layout.blobs.values()) + at
        assert "connection lost" in talk


#: What may happen before chunk `k` of a blob, as what a fault has: nothing of the chunk has arrived then.
BEFORE_A_CHUNK = {
    "429": lambda k: Fault("PATCH", after=k, times=2, status=429),
    "503": lambda k: Fault("PATCH", after=k, times=2, status=503),
    "cut": lambda k: Fault("PATCH", cut_at=k * MIB),
}


@pytest.mark.parametrize("offset_in_location", [True, False], ids=["an address for each offset", "one address"])
@pytest.mark.parametrize("chunk", range(5))
@pytest.mark.parametrize("what", BEFORE_A_CHUNK)
def test_trouble_before_a_chunk_sends_no_byte_twice(
    what: str, chunk: int, offset_in_location: bool, tmp_path: Path
) -> None:
    """The status is asked at the latest address: the one before is good for nothing where it carries the offset."""
    layout, fault = make_layout(tmp_path, (5 * MIB,)), BEFORE_A_CHUNK[what](chunk)
    with FaultRegistry(fault, rules=Rules(offset_in_location=offset_in_location)).serve() as registry:
        run(registry, layout, tmp_path, push_parallel="1")
        assert fault.times == 0, "the fault never happened"
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values())
        assert registry.methods().count("POST") == len(layout.blobs), "no upload was begun again"


@pytest.mark.parametrize("status", [429, 503])
def test_trouble_at_the_close_sends_no_byte_twice(status: int, tmp_path: Path) -> None:
    layout, fault = make_layout(tmp_path, (3 * MIB,)), Fault("PUT", "/blobs/uploads/", times=2, status=status)
    with FaultRegistry(fault, rules=Rules(offset_in_location=True)).serve() as registry:
        run(registry, layout, tmp_path, push_parallel="1")
        assert fault.times == 0
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values())
        assert registry.methods().count("POST") == len(layout.blobs)


def test_416_goes_on_at_the_byte_where_the_registry_is(layout: Layout, tmp_path: Path) -> None:
    """It kept half of a chunk and did not say so: the next range does not fit, and the blob resumes from there."""
    fault = Fault("PATCH", short=True)
    with FaultRegistry(fault).serve() as registry:
        run(registry, layout, tmp_path, push_parallel="1")
        assert fault.times == 0
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values()) + MIB // 2  # what it threw away, sent again
        assert registry.methods().count("POST") == len(layout.blobs), "no upload was begun again"


def test_416_at_the_close_sends_what_is_missing(tmp_path: Path) -> None:
    """Of the last chunk, too, half was thrown away: the close is refused, and then goes through."""
    layout = make_layout(tmp_path, (3 * MIB,))
    last = Fault("PATCH", short=True, times=0)
    faults = (last, Fault("PUT", "/blobs/uploads/", status=416, times=0))

    class AtTheEnd(FaultRegistry):
        def fault(self, method: str, path: str) -> Fault | None:
            if method == "PATCH" and self.methods().count("PATCH") == 3 and last.times == 0:
                for each in faults:
                    each.times = 1
            return super().fault(method, path)

    with AtTheEnd(*faults).serve() as registry:
        _, talk = run(registry, layout, tmp_path, push_parallel="1")
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values()) + MIB // 2
        assert registry.methods().count("PATCH") == 4
        assert "the registry did not receive all bytes" in talk


def test_416_to_a_good_range_begins_the_blob_again(layout: Layout, tmp_path: Path) -> None:
    """It refuses the very byte that it says it is at: that upload is given up, and another one begun."""
    with FaultRegistry(Fault("PATCH", status=416)).serve() as registry:
        _, talk = run(registry, layout, tmp_path, push_parallel="1")
        assert holds(registry, layout)
        assert registry.methods().count("DELETE") == 1
        assert registry.methods().count("POST") == len(layout.blobs) + 1
        assert "rejects the range from byte 0" in talk


def test_416_forever_is_given_up(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(Fault("PATCH", status=416, times=1000)).serve() as registry:
        with pytest.raises(RegistryError, match="rejects the range from byte 0"):
            run(registry, layout, tmp_path, push_retries="2")


def test_killed_and_started_again(tmp_path: Path) -> None:
    """SIGKILL of the push and its child at half of the biggest blob: the next run resumes at the very byte."""
    layout = make_layout(tmp_path, (12 * MIB,))
    slow = Fault("PATCH", times=1000, delay_s=0.005)
    with FaultRegistry(slow).serve() as registry:
        arguments = ("push", "--registry", registry.host, "--layout", str(layout.path), "--set", "push.chunk_mib=1")
        process = start_cli(tmp_path, *arguments)
        assert until(lambda: any(len(held) > 6 * MIB for held in list(registry.uploads.values())), 30)
        kill_group(process)
        time.sleep(0.2)  # the registry sees the connection end
        slow.delay_s = 0
        process = start_cli(tmp_path, *arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "resuming at byte" in err
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values())
        assert f'"tags":["{TAG}"]' in out


def test_stop_keeps_what_arrived(tmp_path: Path, meters: list[Meter]) -> None:
    """A stop between chunks: the talk says how to resume, the next push sends the rest."""
    layout = make_layout(tmp_path, (8 * MIB,))
    slow = Fault("PATCH", times=1000, delay_s=0.005)
    with FaultRegistry(slow).serve() as registry:
        around, _ = make_around(tmp_path)
        threading.Timer(0.5, around.stop.set).start()
        with pytest.raises(Stopped, match=r"stopped: .*run the same command again") as caught:
            push(make_site(registry.host, layout), around)
        assert caught.value.exit_code == 130
        slow.delay_s = 0
        run(registry, layout, tmp_path)
        assert len(meters) == 1
        assert registry.taken == sum(layout.blobs.values())
