"""push against a real registry: Debian's docker-registry on loopback; what it stored is compared bit for bit."""

import json
import os
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.cutting_proxy import CuttingProxy
from push_support import (
    MIB,
    REPOSITORY,
    TAG,
    Layout,
    RealRegistry,
    find_program,
    kill_group,
    make_around,
    make_layout,
    make_site,
    real_registry,
    start_cli,
)

from leviathan.errors import RegistryError
from leviathan.push.push_image import connect, push
from leviathan.registry.upload import BlobOutcome

#: `secret`, as htpasswd -B has it.
HTPASSWD = "ann:$2b$04$CjLSKosAXXl4KVJORzsqZe9CfUk3JH4.H/N2UbeoHb/EaGvENqXV6\n"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_layout(tmp_path_factory.mktemp("layout"), (5 * MIB + 3, 2 * MIB, 10))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as running:
        yield running


def holds(registry: RealRegistry, layout: Layout) -> bool:
    return all(registry.blob(digest) == layout.bytes_of(digest) for digest in (*layout.blobs, layout.digest))


def test_pushes_then_has_nothing_to_do(registry: RealRegistry, layout: Layout, tmp_path: Path) -> None:
    site = make_site(registry.host, layout)
    first = push(site, make_around(tmp_path)[0])
    assert holds(registry, layout)
    assert first.sent == sum(layout.blobs.values())
    with urllib.request.urlopen(f"http://{registry.host}/v2/{REPOSITORY}/tags/list") as answer:  # as the runbook's curl
        assert first.text().splitlines()[-1] == answer.read().decode().strip() != ""
    assert first.tags == (TAG,)
    second = push(site, make_around(tmp_path)[0])
    assert not second.changed
    assert second.sent == 0


def test_skopeo_reads_the_same_image(registry: RealRegistry, layout: Layout, tmp_path: Path) -> None:
    skopeo = find_program("skopeo", "LEVIATHAN_SKOPEO_BIN", "LEVIATHAN_WITHOUT_SKOPEO", "LEVIATHAN_WITHOUT_REGISTRY")
    push(make_site(registry.host, layout), make_around(tmp_path)[0])
    source = f"docker://{registry.host}/{REPOSITORY}:{TAG}"
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    base = [skopeo, "--policy", str(policy), "--tmpdir", str(tmp_path)]
    shown = subprocess.run(
        [*base, "inspect", "--tls-verify=false", source], check=True, capture_output=True, text=True, timeout=60
    )
    assert json.loads(shown.stdout)["Digest"] == layout.digest
    subprocess.run(
        [*base, "copy", "-q", "--preserve-digests", "--src-tls-verify=false", source, f"oci:{tmp_path}/back:{TAG}"],
        check=True,
        timeout=60,
    )
    for digest in (*layout.blobs, layout.digest):
        assert (tmp_path / "back/blobs/sha256" / digest[7:]).read_bytes() == layout.bytes_of(digest)


def test_moves_the_tag_to_a_new_image(registry: RealRegistry, layout: Layout, tmp_path: Path) -> None:
    push(make_site(registry.host, layout), make_around(tmp_path)[0])
    other = make_layout(tmp_path / "other", (MIB,), seed=1)
    push(make_site(registry.host, other), make_around(tmp_path)[0])
    client = connect(make_site(registry.host), make_around(tmp_path)[0])
    tagged = client.head_manifest(TAG)
    assert tagged is not None
    assert tagged.digest == other.digest
    assert client.head_manifest(layout.digest) is not None, "the image before is still there by its digest"
    client.transport.close()


def test_mounts_from_another_repository(registry: RealRegistry, layout: Layout, tmp_path: Path) -> None:
    push(make_site(registry.host, layout, image_repository="other/place"), make_around(tmp_path)[0])
    done = push(make_site(registry.host, layout, push_mount_from="other/place"), make_around(tmp_path)[0])
    assert done.count(BlobOutcome.MOUNTED) == len(layout.blobs)
    assert done.sent == 0


def test_lost_blob_is_sent_again(registry: RealRegistry, layout: Layout, tmp_path: Path) -> None:
    """The tag and manifest are there, one blob is gone: looking at the manifest alone would not show it."""
    push(make_site(registry.host, layout), make_around(tmp_path)[0])
    link = (
        registry.storage / f"docker/registry/v2/repositories/{REPOSITORY}/_layers/sha256" / layout.biggest[7:] / "link"
    )
    link.unlink()
    done = push(make_site(registry.host, layout), make_around(tmp_path)[0])
    assert [each.blob.digest for each in done.outcomes if each.how is BlobOutcome.SENT] == [layout.biggest]


def test_killed_at_half_of_the_biggest_blob(registry: RealRegistry, tmp_path: Path) -> None:
    """SIGKILL of the process that was started: its child lets the chunk under way arrive; the next run resumes."""
    layout = make_layout(tmp_path / "big", (192 * MIB,))
    size, chunk = layout.blobs[layout.biggest], 4 * MIB
    arguments = ("push", "--registry", registry.host, "--layout", str(layout.path), "--set", "push.chunk_mib=4")
    process = start_cli(tmp_path, *arguments)
    while registry.partial() < size // 2:
        assert process.poll() is None, "it ended before half"
        time.sleep(0.002)
    process.kill()
    at_kill = registry.partial()
    process.wait(10)
    again = start_cli(tmp_path, *arguments, "--json")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    report = json.loads(out)
    blob = next(each for each in report["blobs"] if each["digest"] == layout.biggest)
    assert blob["resumed_at"] + blob["bytes_sent"] == size, "a byte was sent twice"
    assert blob["resumed_at"] >= at_kill - chunk
    assert blob["resumed_at"] > 0
    assert holds(registry, layout)


@pytest.mark.parametrize("chunk", range(5))
def test_cut_before_a_chunk(chunk: int, registry: RealRegistry, tmp_path: Path) -> None:
    """A proxy resets the connection before a chunk: the upload resumes, and no byte arrives twice."""
    layout = make_layout(tmp_path / "big", (5 * MIB,))
    with CuttingProxy(registry.host, chunk=chunk).serve() as proxy:
        around, talk = make_around(tmp_path)
        push(make_site(proxy.host, layout, push_parallel="1"), around)
        assert proxy.cuts == 1
        assert "connection lost" in talk.getvalue()
        assert holds(registry, layout)
        assert proxy.methods.count("POST") == len(layout.blobs), "no upload was begun again"
        assert proxy.methods.count("PATCH") == 5 + 1
        assert proxy.forwarded == sum(layout.blobs.values()) + layout.manifest_bytes


@pytest.mark.parametrize("chunk", [0, 3])
def test_cut_inside_a_chunk(chunk: int, registry: RealRegistry, tmp_path: Path) -> None:
    """A 2.x registry cannot resume inside a chunk: that blob starts again, and only what was there is sent twice."""
    layout, inside = make_layout(tmp_path / "big", (5 * MIB,)), MIB // 2
    with CuttingProxy(registry.host, chunk=chunk, inside=inside).serve() as proxy:
        around, talk = make_around(tmp_path)
        push(make_site(proxy.host, layout, push_parallel="1"), around)
        assert proxy.cuts == 1
        assert "connection lost" in talk.getvalue()
        assert holds(registry, layout)
        again = proxy.forwarded - sum(layout.blobs.values()) - layout.manifest_bytes
        assert again == chunk * MIB + inside


def test_registry_killed_and_back(registry: RealRegistry, tmp_path: Path) -> None:
    """It forgets the uploads under way: what goes again is at most what it had of them, and a chunk of each on its way.

    The bound of tests/e2e/scenarios/interruptions.py.
    """
    layout, parallel = make_layout(tmp_path / "big", (96 * MIB, 64 * MIB)), 2
    options = ("push.chunk_mib=1", f"push.parallel={parallel}")
    words = [word for option in options for word in ("--set", option)]
    process = start_cli(tmp_path, "push", "--registry", registry.host, "--layout", str(layout.path), "--json", *words)
    while registry.partial() < 24 * MIB:
        assert process.poll() is None, "it ended before"
        time.sleep(0.002)
    registry.kill()
    there = sum(registry.uploads())
    time.sleep(1)
    registry.start()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert holds(registry, layout)
    again = json.loads(out)["bytes_sent"] - sum(layout.blobs.values())
    assert there <= again <= there + parallel * MIB


def test_killed_with_its_child(registry: RealRegistry, tmp_path: Path) -> None:
    """All is killed inside a chunk, where a 2.x registry cannot resume: the blob starts again and says so."""
    layout = make_layout(tmp_path / "big", (128 * MIB,))
    arguments = ("push", "--registry", registry.host, "--layout", str(layout.path), "--set", "push.chunk_mib=64")
    process = start_cli(tmp_path, *arguments)
    while registry.partial() < 8 * MIB:
        assert process.poll() is None
        time.sleep(0.002)
    kill_group(process)
    again = start_cli(tmp_path, *arguments)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert "starts again" in err or "resuming at byte" in err
    assert holds(registry, layout)


def test_basic_authentication(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}
    with real_registry(tmp_path, auth=auth) as registry:
        for user, good in (("YW5uOnNlY3JldA==", True), ("YW5uOndyb25n", False)):  # ann:secret, ann:wrong
            home = tmp_path / user
            (home / ".docker").mkdir(parents=True)
            (home / ".docker/config.json").write_text(json.dumps({"auths": {registry.host: {"auth": user}}}))
            if good:
                push(make_site(registry.host, layout), make_around(home)[0])
                assert holds(registry, layout)
            else:
                with pytest.raises(RegistryError, match="denies access"):
                    push(make_site(registry.host, layout), make_around(home)[0])


def test_tls(layout: Layout, tmp_path: Path, ca_file: Path, server_tls: ssl.SSLContext) -> None:
    tls = {"certificate": str(ca_file), "key": str(ca_file.with_name("key.pem"))}
    with real_registry(tmp_path, tls=tls) as registry:
        with pytest.raises(RegistryError, match=r"speaks HTTPS, but registry.plain_http is true .*plain_http = false"):
            push(make_site(registry.host, layout), make_around(tmp_path)[0])
        site = make_site(registry.host, layout, registry_plain_http="false", registry_ca_file=str(ca_file))
        push(site, make_around(tmp_path)[0])
        assert holds(registry, layout)


def test_plain_http_where_https_is_expected(registry: RealRegistry, layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"the registry speaks HTTP, but registry\.plain_http is false"):
        push(make_site(registry.host, layout, registry_plain_http="false"), make_around(tmp_path)[0])


def test_unchanged_push_is_quick_and_small(registry: RealRegistry, layout: Layout, tmp_path: Path) -> None:
    """As a user runs it: the whole process, with its start. The bound is the issue's, for an idle machine."""
    arguments = ("push", "--registry", registry.host, "--layout", str(layout.path))
    seconds = []
    for _ in range(6):
        began = time.monotonic()
        process = start_cli(tmp_path, *arguments)
        out, _ = process.communicate(timeout=60)
        seconds.append(time.monotonic() - began)
        assert process.returncode == 0
    assert "nothing to do" in out
    load_per_core = os.getloadavg()[0] / (os.cpu_count() or 1)
    assert min(seconds[1:]) <= 1.0 * max(1.0, load_per_core)


def test_memory_while_sending(registry: RealRegistry, tmp_path: Path) -> None:
    """The peak of both processes together, while 192 MiB go out in four blobs at once."""
    layout = make_layout(tmp_path / "big", (48 * MIB, 48 * MIB + 1, 48 * MIB + 2, 48 * MIB + 3))
    process = start_cli(tmp_path, "push", "--registry", registry.host, "--layout", str(layout.path))
    peak: dict[str, int] = {}
    while process.poll() is None:
        for pid in (str(process.pid), *children(process.pid)):
            peak[pid] = max(peak.get(pid, 0), high_water(pid))
        time.sleep(0.01)
    assert process.returncode == 0
    assert len(peak) == 2
    assert 10_000 < sum(peak.values()) < 200 * 1024  # KiB


def children(pid: int) -> list[str]:
    """The processes that `pid` started."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def high_water(pid: str) -> int:
    """The most memory that a process has had, in KiB; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
