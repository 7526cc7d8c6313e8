"""The private apt: its sources, its configuration, its command lines, and what its errors become."""

from pathlib import Path

import pytest

from leviathan_fetch import process
from leviathan_fetch.clients import apt, apt_download
from leviathan_fetch.clients.apt_sources import Entry
from leviathan_fetch.errors import FetchError

MAIN = Entry("http://mirror.lab/debian", "trixie", ("main",), {"signed-by": "/keys/vendor.gpg", "trusted": "yes"})
SECURITY = Entry("http://mirror.lab/debian-security", "trixie-security", ("main",), {"signed-by": "/keys/vendor.gpg"})
MIRRORS = {"main": [MAIN], "updates": [MAIN], "security": [SECURITY]}


def failed(stderr: str) -> process.Done:
    return process.Done(("apt-helper",), 100, "", stderr)


def test_sources_name_the_locks_suites_at_the_hosts_mirrors() -> None:
    text = apt.sources_text(["bookworm", "bookworm-security"], MIRRORS, "amd64")
    assert text == (
        "Types: deb\nURIs: http://mirror.lab/debian\nSuites: bookworm\nComponents: main\nArchitectures: amd64\n"
        "Targets: Packages\nSigned-By: /keys/vendor.gpg\nTrusted: yes\n"
        "\nTypes: deb\nURIs: http://mirror.lab/debian-security\nSuites: bookworm-security\nComponents: main\n"
        "Architectures: amd64\nTargets: Packages\nSigned-By: /keys/vendor.gpg\n"
    )


def test_debians_whole_keyring_stands_in_for_one_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "whole.gpg"
    whole.touch()
    monkeypatch.setattr(apt, "KEYRINGS", (str(tmp_path / "missing"), str(whole)))
    signed = {"signed-by": "/usr/share/keyrings/debian-archive-trixie-stable.gpg"}
    text = apt.sources_text(["bookworm"], {"main": [Entry("http://m", "trixie", ("main",), signed)]}, "amd64")
    assert f"Signed-By: {whole}\n" in text


def test_a_suite_without_a_mirror_is_an_error() -> None:
    with pytest.raises(FetchError, match="no mirror for suites like bookworm-security") as got:
        apt.sources_text(["bookworm-security"], {"main": [MAIN]}, "amd64")
    assert "--debian-mirror" in got.value.remedy


def test_the_configuration_keeps_apt_inside_its_folder() -> None:
    text = apt.config_text(Path("/state"), "amd64")
    for name in ("APT::Update::Post-Invoke", "APT::Default-Release", "Dir::Cache"):
        assert f"#clear {name};\n" in text
    inside = [line for line in text.splitlines() if line.startswith("Dir::") and "/dev/null" not in line]
    assert len(inside) == 10
    assert all('"/state/' in line for line in inside)


def test_solutions_are_read() -> None:
    text = "Inst libc6 (2.36-9 Debian:12.1/stable [amd64]) []\nInst a [1] (2 x [all])\nConf libc6 (2.36-9 x [amd64])\n"
    assert apt.parse_solution(text) == [("a", "2"), ("libc6", "2.36-9")]


def test_the_download_call() -> None:
    private = apt.Apt(Path("/state"), ("bookworm",), "amd64")
    item = apt_download.Wanted("bookworm", "pool/main/b/bash_1.deb", "ab", Path("/d/part"))
    assert apt_download.argv(private, [("http://m", item)]) == [
        apt.HELPER, "-c", "/state/apt.conf", "download-file", "http://m/pool/main/b/bash_1.deb", "/d/part", "SHA256:ab",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "remedy"),
    [
        ("Failed to fetch http://m/a.deb  404  Not Found [IP: 1 80]", "gone", "make lock"),
        ("Failed to fetch file:/m/a.deb  File not found - /m/a.deb (2: No such file)", "gone", "make lock"),
        ("Failed to fetch http://m/a.deb  Hash Sum mismatch", "hash", "make lock"),
        ("Failed to fetch http://m/a.deb  Temporary failure resolving 'm'", "network", "network"),
        ("Failed to fetch http://m/a.deb  Could not connect to m:80", "network", "network"),
        (
            "Failed to fetch http://m/a.deb  Error writing to file - write (28: No space left on device)",
            "disk",
            "space",
        ),
        ("Unable to locate package nope", "other", ""),
    ],
)
def test_apts_errors_by_kind(text: str, kind: str, remedy: str) -> None:
    error = apt.failure("apt cannot", failed(f"W: talk\nE: {text}\nE: Download Failed\n"))
    assert error.kind == kind
    assert error.line().startswith(f"apt cannot: {' '.join(text.split())}")
    assert remedy in error.remedy
    assert "Download Failed" not in error.message


def test_an_error_speaks_of_its_own_package() -> None:
    both = (
        "E: Failed to fetch http://m/a_1%7e2.deb  404  Not Found\nE: Failed to fetch http://m/b.deb  404  Not Found\n"
    )
    assert "b.deb" not in apt.failure("no", failed(both), "a_1~2.deb").message
    assert "a_1%7e2.deb" in apt.failure("no", failed(both), "a_1~2.deb").message


def test_what_came_in_a_failed_call_is_told_from_what_did_not(tmp_path: Path) -> None:
    done = failed("E: Failed to fetch http://m/pool/a_1%2b1.deb  Connection reset\n")
    names = [("a_1+1.deb", "pool/a_1+1.deb"), ("b.deb", "pool/b.deb"), ("c.deb", "pool/c.deb")]
    a, b, c = (apt_download.Wanted("bookworm", filename, "", tmp_path / name) for name, filename in names)
    a.target.write_bytes(b"half")
    b.target.write_bytes(b"whole")
    c.target.with_name("c.deb.FAILED").write_bytes(b"wrong hash")
    assert [apt_download.arrived(done, item) for item in (a, b, c)] == [False, True, True]


def test_settle_makes_plain_files(tmp_path: Path) -> None:
    failed_file, link, source = tmp_path / "a", tmp_path / "b", tmp_path / "mirror.deb"
    (tmp_path / "a.FAILED").write_bytes(b"wrong")
    source.write_bytes(b"local")
    link.symlink_to(source)
    for target in (failed_file, link):
        apt_download.settle(target)
    assert (failed_file.read_bytes(), link.read_bytes(), link.is_symlink()) == (b"wrong", b"local", False)
    assert source.read_bytes() == b"local"
