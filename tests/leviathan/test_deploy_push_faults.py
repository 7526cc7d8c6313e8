"""push against a registry that breaks: every fault ends in the same bytes there, none of them sent twice."""

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cutting_proxy import CuttingProxy
from fault_registry import PIECE, Fault, FaultRegistry, Rules
from push_support import MIB, REPOSITORY, TAG, Layout, kill_group, make_around, make_layout, make_site, start_cli

from leviathan.errors import LayoutError, LeviathanError, RegistryError
from leviathan.oci.layout import Blob
from leviathan.progress import Meter
from leviathan.push import connect, push
from leviathan.pushed import Pushed
from leviathan.registry.answers import Session
from leviathan.registry.attempts import Stopped
from leviathan.registry.outcome import How
from leviathan.registry.sessions import Sessions

SIZES = (10 * MIB // 4 + 7, 3 * MIB, 1000)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_layout(tmp_path_factory.mktemp("layout"), SIZES)


@pytest.fixture(autouse=True)
def meters(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Meter]]:
    """Every meter of a test; one whose push succeeded shows all bytes as done, not one more or less."""
    seen: list[Meter] = []

    class Seen(Meter):
        def __exit__(self, *how: Any) -> None:
            super().__exit__(*how)
            if how[0] is None:
                seen.append(self)

    monkeypatch.setattr("leviathan.push.Meter", Seen)
    yield seen
    for meter in seen:
        assert meter.done == meter.total


def run(registry: FaultRegistry, layout: Layout, home: Path, **named: str) -> tuple[Pushed, str]:
    around, talk = make_around(home)
    return push(make_site(registry.host, layout, **named), around), talk.getvalue()


def holds(registry: FaultRegistry, layout: Layout, repository: str = REPOSITORY) -> bool:
    """Whether the registry has the layout's bytes, under its tag."""
    return all(
        registry.blobs.get((repository, digest)) == layout.bytes_of(digest) for digest in layout.blobs
    ) and registry.manifests[repository, TAG][1] == layout.bytes_of(layout.digest)


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
        assert done.count(How.MISSING) == len(layout.blobs)
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
            assert push(make_site(registry.host, layout), around, dry_run=True).count(How.MISSING) == len(layout.blobs)
            timer.cancel()
        assert talk.getvalue() == ""
        (tmp_path / "file").touch()
        around, _ = make_around(tmp_path, XDG_STATE_HOME=str(tmp_path / "file"))
        with pytest.raises(LeviathanError, match="cannot keep the state of uploads"):  # the control
            push(make_site(registry.host, layout), around)
        assert push(make_site(registry.host, layout), around, dry_run=True).dry_run


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


def test_416_goes_on_at_the_byte_where_the_registry_is(layout: Layout, tmp_path: Path) -> None:
    """It kept half of a chunk and did not say so: the next range does not fit, and the blob goes on from there."""
    fault = Fault("PATCH", short=True)
    with FaultRegistry(fault).serve() as registry:
        run(registry, layout, tmp_path, push_parallel="1")
        assert fault.times == 0
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values()) + MIB // 2  # what it threw away, once more
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
        assert "the registry misses bytes" in talk


def test_416_to_a_good_range_begins_the_blob_again(layout: Layout, tmp_path: Path) -> None:
    """It refuses the very byte that it says it is at: that upload is given up, and another one begun."""
    with FaultRegistry(Fault("PATCH", status=416)).serve() as registry:
        _, talk = run(registry, layout, tmp_path, push_parallel="1")
        assert holds(registry, layout)
        assert registry.methods().count("DELETE") == 1
        assert registry.methods().count("POST") == len(layout.blobs) + 1
        assert "refuses the range from byte 0 and names no other" in talk


def test_416_forever_is_given_up(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(Fault("PATCH", status=416, times=1000)).serve() as registry:
        with pytest.raises(RegistryError, match="refuses the range from byte 0"):
            run(registry, layout, tmp_path, push_retries="2")


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
        assert "in one request are too many" in talk


def test_wrong_digest_after_upload(layout: Layout, tmp_path: Path) -> None:
    other = f"sha256:{'0' * 64}"
    with FaultRegistry(Fault("PUT", "/blobs/uploads/", digest=other)).serve() as registry:
        with pytest.raises(RegistryError, match=f"stored something else .*names {other}"):
            run(registry, layout, tmp_path)
        assert (REPOSITORY, TAG) not in registry.manifests


def test_wrong_digest_on_looking_again(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        registry.faults = [Fault("HEAD", "/blobs/", times=0, digest=f"sha256:{'0' * 64}")]
        run(registry, layout, tmp_path / "good")  # the control
        registry.blobs.clear()
        registry.faults[0].times = len(layout.blobs) + 1
        with pytest.raises(RegistryError, match="another blob than was sent"):
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
        assert done.count(How.MOUNTED) == len(layout.blobs)
        assert done.sent == 0
        assert "PATCH" not in registry.methods()
        assert holds(registry, layout)


def test_plain_http_where_https_is_expected(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        with pytest.raises(
            RegistryError, match=r"answers plain HTTP where HTTPS is expected .*registry.plain_http = true"
        ):
            run(registry, layout, tmp_path, registry_plain_http="false")
        assert registry.requests == []


def test_https_where_plain_http_is_expected(
    layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """A TLS server that is not Go's: it says nothing to plain HTTP, and closes the connection."""
    with FaultRegistry().serve(server_tls) as registry:
        with pytest.raises(RegistryError, match=r"speaks HTTPS where HTTP is configured .*registry.plain_http = false"):
            run(registry, layout, tmp_path, push_retries="1")
        assert registry.requests == []
        run(registry, layout, tmp_path, registry_plain_http="false", registry_ca_file=str(ca_file))  # the control
        assert holds(registry, layout)


def test_400_for_want_of_tls(layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    """As nginx does: plain HTTP on its TLS port gets an answer, in words of its own."""
    with as_nginx(server_tls) as host:
        with pytest.raises(RegistryError, match=r"speaks HTTPS where HTTP is configured .*registry.plain_http = false"):
            push(make_site(host, layout), make_around(tmp_path)[0])
    with FaultRegistry(Fault("HEAD", status=400)).serve() as registry:  # the control: a 400, and no TLS
        with pytest.raises(RegistryError, match="the registry refuses to look for") as caught:
            run(registry, layout, tmp_path)
        assert "HTTPS" not in str(caught.value)


def test_cut_of_the_first_request_is_not_taken_for_tls(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry, CuttingProxy(registry.host, chunk=0, method="HEAD").serve() as proxy:
        around, talk = make_around(tmp_path)
        push(make_site(proxy.host, layout, push_parallel="1"), around)
        assert proxy.cuts == 1
        assert "connection lost" in talk.getvalue()
        assert holds(registry, layout)


def test_unknown_and_known_authority(layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    with FaultRegistry().serve(server_tls) as registry:
        with pytest.raises(RegistryError, match=r"certificate cannot be verified .*registry.ca_file"):
            run(registry, layout, tmp_path, registry_plain_http="false")
        run(registry, layout, tmp_path, registry_plain_http="false", registry_ca_file=str(ca_file))
        assert holds(registry, layout)


#: How an HTTPS registry may lead away from TLS: the request that it answers so, and the answer's status.
AWAY = {"upload": ("POST", 202), "look": ("HEAD", 307)}


@pytest.mark.parametrize("way", AWAY)
def test_no_byte_leaves_without_tls(
    way: str, layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """A Location with http on another host, of an upload or a redirect: refused for HTTPS, as it is for a token.

    127.1 is another host by its name, and one that needs no resolver: a sandbox has none.
    """
    method, status = AWAY[way]
    named = {"registry_ca_file": str(ca_file), "push_retries": "0", "push_parallel": "1"}
    with FaultRegistry().serve() as other:
        place = {"Location": f"http://127.1:{other.port}/v2/{REPOSITORY}/blobs/sha256:{'0' * 64}?secret"}
        for tls in (server_tls, None):
            with FaultRegistry(Fault(method, status=status, headers=place, code="")).serve(tls) as registry:
                if tls is None:  # the control
                    with suppress(RegistryError):
                        run(registry, layout, tmp_path / "plain", **named)
                    assert len(other.requests) > 0
                else:
                    with pytest.raises(
                        RegistryError, match=r"address that is not safe \(http://127\.1:.*TLS; fix: "
                    ) as caught:
                        run(registry, layout, tmp_path / "tls", registry_plain_http="false", **named)
                    assert other.requests == []
                    assert "secret" not in str(caught.value)


def test_upload_left_from_before_tls(layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    """An address without TLS that an earlier run kept is not asked, and does not stand in the way."""
    with FaultRegistry().serve() as other, FaultRegistry().serve(server_tls) as registry:
        sessions = Sessions(tmp_path / "state", registry.host, REPOSITORY)
        data = layout.bytes_of(layout.biggest)
        blob = Blob(layout.biggest, len(data), layout.path / "blobs/sha256" / layout.biggest.removeprefix("sha256:"))
        sessions.save(blob, Session(f"http://127.1:{other.port}/v2/{REPOSITORY}/blobs/uploads/x", MIB))
        run(registry, layout, tmp_path, registry_plain_http="false", registry_ca_file=str(ca_file))
        assert holds(registry, layout)
        assert other.requests == []


def test_killed_and_started_again(tmp_path: Path) -> None:
    """SIGKILL of the push and its child at half of the biggest blob: the next run goes on at the very byte."""
    layout = make_layout(tmp_path, (12 * MIB,))
    slow = Fault("PATCH", times=1000, delay_s=0.005)
    with FaultRegistry(slow).serve() as registry:
        arguments = ("push", "--registry", registry.host, "--layout", str(layout.path), "--set", "push.chunk_mib=1")
        process = start_cli(tmp_path, *arguments)
        until(lambda: any(len(held) > 6 * MIB for held in list(registry.uploads.values())))
        kill_group(process)
        time.sleep(0.2)  # the registry sees the connection end
        slow.delay_s = 0
        process = start_cli(tmp_path, *arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "going on at byte" in err
        assert holds(registry, layout)
        assert registry.taken == sum(layout.blobs.values())
        assert f'"tags":["{TAG}"]' in out


def test_stop_keeps_what_arrived(tmp_path: Path, meters: list[Meter]) -> None:
    """A stop between chunks: the talk says how to go on, the next push sends the rest."""
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


def test_refused_connection_names_the_command(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        host = registry.host
    around, _ = make_around(tmp_path)
    with pytest.raises(RegistryError, match=rf"Connection refused.*fix: .*curl -i http://{host}/v2/"):
        push(make_site(host, layout, push_retries="1"), around)


@contextmanager
def as_nginx(tls: ssl.SSLContext) -> Iterator[str]:
    """HOST:PORT of a server that speaks TLS, and answers 400 to who does not."""

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                        tls.wrap_socket(connection, server_side=True).close()
                    else:
                        connection.recv(PIECE)
                        connection.sendall(
                            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                        )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
