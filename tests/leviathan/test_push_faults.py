"""push against a registry that breaks: every fault ends in the same bytes there, or in a reason."""

import re
import threading
import time
from pathlib import Path

import pytest
from fakes.fault_registry import Fault, FaultRegistry, Rules
from push_fault_support import holds, run
from push_support import MIB, REPOSITORY, TAG, Layout, make_around, make_layout, make_site

from leviathan.errors import LayoutError, LeviathanError, RegistryError
from leviathan.push.push_image import connect, push
from leviathan.registry.sessions import Sessions
from leviathan.registry.upload import BlobOutcome

pytestmark = pytest.mark.usefixtures("meters")


def test_sends_each_byte_once(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        done, _ = run(registry, layout, tmp_path)
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values())
        assert done.sent == sum(layout.blobs.values())
        assert done.tags == (TAG,)
        puts = [path for method, path in registry.requests if method == "PUT" and "/manifests/" in path]
        assert [path.rsplit("/", 1)[1] for path in puts] == [layout.digest, TAG]
        first_manifest = registry.requests.index(("PUT", puts[0]))
        assert all("/blobs/" not in path for _, path in registry.requests[first_manifest:])


def test_second_run_only_looks(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        first, _ = run(registry, layout, tmp_path)
        assert first.changed
        registry.requests.clear()
        second, talk = run(registry, layout, tmp_path)
        assert not second.changed
        assert set(registry.methods()) == {"HEAD"}
        assert len(registry.requests) == len(layout.blobs) + 2
        assert talk == ""
        assert "nothing to do" in second.text()


def test_dry_run_changes_nothing(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        around, _ = make_around(tmp_path)
        done = push(make_site(registry.host, layout), around, dry_run=True)
        assert set(registry.methods()) == {"HEAD"}
        assert done.count(BlobOutcome.MISSING) == len(layout.blobs)
        assert not registry.blobs
        assert not (tmp_path / "state").exists()


def test_dry_run_does_not_wait_for_a_push(layout: Layout, tmp_path: Path) -> None:
    """Nor needs it a place for state."""
    with FaultRegistry().serve() as registry:
        around, talk = make_around(tmp_path)
        sessions = Sessions(tmp_path / "state", registry.host, REPOSITORY)
        with sessions.locked(connect(make_site(registry.host), around).attempts("push"), around.console):
            timer = threading.Timer(5, around.stop.set)
            timer.start()
            assert push(make_site(registry.host, layout), around, dry_run=True).count(BlobOutcome.MISSING) == len(
                layout.blobs
            )
            timer.cancel()
        assert talk.getvalue() == ""
        (tmp_path / "file").touch()
        around, _ = make_around(tmp_path, XDG_STATE_HOME=str(tmp_path / "file"))
        with pytest.raises(LeviathanError, match="cannot create the folder for the state of uploads"):  # the control
            push(make_site(registry.host, layout), around)
        assert push(make_site(registry.host, layout), around, dry_run=True).dry_run


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["HEAD", "POST", "PATCH", "PUT"])
def test_passing_status(status: int, method: str, layout: Layout, tmp_path: Path) -> None:
    fault = Fault(method, status=status, times=3)
    with FaultRegistry(fault).serve() as registry:
        _, talk = run(registry, layout, tmp_path)
        assert fault.times == 0
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values())
        assert f"the registry answered {status}" in talk


def test_retry_after_is_honoured(layout: Layout, tmp_path: Path) -> None:
    fault = Fault("POST", status=429, headers={"Retry-After": "1"})
    with FaultRegistry(fault).serve() as registry:
        began = time.monotonic()
        run(registry, layout, tmp_path)
        assert time.monotonic() - began >= 1.0
        assert holds(registry, layout)


def test_lasting_500_is_given_up(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(Fault("PATCH", status=500, times=1000)).serve() as registry:
        with pytest.raises(
            RegistryError, match=r"cannot upload .*500 FAULT fault; 3 attempts in a row failed; fix: "
        ) as caught:
            run(registry, layout, tmp_path, push_retries="2")
        assert caught.value.exit_code == 4
        assert (REPOSITORY, TAG) not in registry.manifests


def test_no_chunk_support(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(rules=Rules(chunks=False)).serve() as registry:
        run(registry, layout, tmp_path, push_parallel="1")
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values())
        assert registry.methods().count("PATCH") == 1


def test_smallest_chunk_is_kept(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(rules=Rules(min_chunk=2 * MIB)).serve() as registry:
        run(registry, layout, tmp_path)
        assert holds(registry, layout)
        assert registry.methods().count("PATCH") == 4  # 2.5 and 3 MiB in pieces of 2 MiB


@pytest.mark.parametrize("chunk", ["4", "64"], ids=["chunk", "whole blob"])
def test_too_large_chunk_is_halved(chunk: str, tmp_path: Path) -> None:
    layout = make_layout(tmp_path, (5 * MIB,))
    with FaultRegistry(rules=Rules(largest_body=MIB)).serve() as registry:
        _, talk = run(registry, layout, tmp_path, push_chunk_mib=chunk)
        assert holds(registry, layout)
        assert "in one request is too much" in talk


def test_wrong_digest_after_upload(layout: Layout, tmp_path: Path) -> None:
    other = f"sha256:{'0' * 64}"
    with FaultRegistry(Fault("PUT", "/blobs/uploads/", digest=other)).serve() as registry:
        with pytest.raises(RegistryError, match=f"stored different content than was sent .*got {other}"):
            run(registry, layout, tmp_path)
        assert (REPOSITORY, TAG) not in registry.manifests


def test_wrong_digest_on_looking_again(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        registry.faults = [Fault("HEAD", "/blobs/", times=0, digest=f"sha256:{'0' * 64}")]
        run(registry, layout, tmp_path / "good")  # the control
        registry.blobs.clear()
        registry.faults[0].times = len(layout.blobs) + 1
        with pytest.raises(RegistryError, match="a different blob than was sent"):
            run(registry, layout, tmp_path / "bad", push_parallel="1")


def test_registry_that_rejects_good_bytes(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(rules=Rules(monolithic_rejects=True)).serve() as registry:
        with pytest.raises(RegistryError, match=r"refuses to close the upload .*DIGEST_INVALID"):
            run(registry, layout, tmp_path, push_parallel="1")


def test_damaged_blob_is_not_stored(tmp_path: Path) -> None:
    """The bytes changed after the build: found by our own hash on the way, named, and the upload is given up."""
    layout = make_layout(tmp_path, (2 * MIB,))
    path = layout.path / "blobs/sha256" / layout.biggest.removeprefix("sha256:")
    target = path.resolve()
    data = bytearray(target.read_bytes())
    data[MIB] ^= 1
    target.write_bytes(data)
    with FaultRegistry().serve() as registry:
        with pytest.raises(LayoutError, match=rf"a blob is damaged \({re.escape(str(path))}\): it hashes to sha256:"):
            run(registry, layout, tmp_path)
        assert (REPOSITORY, layout.biggest) not in registry.blobs
        assert not registry.uploads


def test_lost_answer_of_the_close(layout: Layout, tmp_path: Path) -> None:
    """The registry stored the blob but the answer was lost: nothing is sent again."""
    fault = Fault("PUT", "/blobs/uploads/", cut_at=-1)
    with FaultRegistry(fault).serve() as registry:
        run(registry, layout, tmp_path, push_parallel="1")
        assert fault.times == 0
        assert registry.taken == sum(layout.blobs.values())


def test_slow_registry_times_out_and_goes_on(layout: Layout, tmp_path: Path) -> None:
    """A registry that takes a chunk slower than the time-out allows for an answer."""
    with FaultRegistry(Fault("PATCH", delay_s=0.05)).serve() as registry:
        _, talk = run(registry, layout, tmp_path, push_timeout_s="1", push_parallel="1")
        assert holds(registry, layout)
        assert "timed out" in talk


def test_mount_from_another_repository(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        run(registry, layout, tmp_path, image_repository="other/place")
        registry.requests.clear()
        done, _ = run(registry, layout, tmp_path, push_mount_from="empty/one,other/place")
        assert done.count(BlobOutcome.MOUNTED) == len(layout.blobs)
        assert done.sent == 0
        assert "PATCH" not in registry.methods()
        assert holds(registry, layout)


def test_a_push_waits_for_a_registry_that_is_starting(layout: Layout, tmp_path: Path) -> None:
    """The control of `leviathan tags`, which gives up soon: a refused push has all its retries."""
    with FaultRegistry().serve() as registry:
        host = registry.host
    around, talk = make_around(tmp_path)
    with pytest.raises(RegistryError, match=r"Connection refused.*; 7 attempts in a row failed"):
        push(make_site(host, layout, push_retries="6", push_parallel="1"), around)
    assert "attempt 7 of 7" in talk.getvalue()


def test_refused_connection_names_the_command(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        host = registry.host
    around, _ = make_around(tmp_path)
    with pytest.raises(RegistryError, match=rf"Connection refused.*fix: .*curl -i http://{host}/v2/"):
        push(make_site(host, layout, push_retries="1"), around)
