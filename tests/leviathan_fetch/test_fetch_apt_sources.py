"""The host's apt sources, both formats."""

from pathlib import Path

from leviathan_fetch.clients.apt_sources import Entry, debian_mirrors, parse_list, parse_sources, read_host, role

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""\
# a comment
Types: deb deb-src
URIs: http://mirror.lab/debian/ http://second.lab/debian
Suites: trixie trixie-updates
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.lab/debian-security
Suites: trixie-security
Components: main
Signed-By: {KEYRING}
Check-Valid-Until: no

Types: deb
Enabled: no
URIs: http://off.lab/debian
Suites: trixie
Components: main

Types: deb-src
URIs: http://src.lab/debian
Suites: trixie
Components: main
"""
ONE_LINE = f"""\
# deb http://commented.lab/debian bookworm main
deb [arch=amd64 signed-by={KEYRING}] http://mirror.lab/debian bookworm main contrib # the mirror
deb-src http://mirror.lab/debian bookworm main
deb\thttp://mirror.lab/debian-security/ bookworm-security main
deb http://other.lab/tools tools-bookworm main
deb broken
"""


def test_deb822_gives_an_entry_for_each_uri_and_suite() -> None:
    found = [(entry.uri, entry.suite) for entry in parse_sources(DEB822)]
    assert found == [
        ("http://mirror.lab/debian/", "trixie"),
        ("http://mirror.lab/debian/", "trixie-updates"),
        ("http://second.lab/debian", "trixie"),
        ("http://second.lab/debian", "trixie-updates"),
        ("http://mirror.lab/debian-security", "trixie-security"),
    ]
    assert parse_sources(DEB822)[-1].options["check-valid-until"] == "no"
    assert parse_sources(DEB822)[0].components == ("main", "contrib")


def test_deb822_keeps_a_key_that_stands_in_the_file() -> None:
    text = "Types: deb\nURIs: http://m\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n .\n key\n"
    assert parse_sources(text)[0].options["signed-by"] == "\n-----BEGIN\n.\nkey"


def test_one_line_entries() -> None:
    assert parse_list(ONE_LINE) == [
        Entry("http://mirror.lab/debian", "bookworm", ("main", "contrib"), {"arch": "amd64", "signed-by": KEYRING}),
        Entry("http://mirror.lab/debian-security/", "bookworm-security", ("main",)),
        Entry("http://other.lab/tools", "tools-bookworm", ("main",)),
    ]


def test_roles() -> None:
    names = ["bookworm", "trixie-updates", "bookworm-security", "buster/updates", "stable", "bookworm-backports"]
    assert [role(name) for name in names] == ["main", "updates", "security", "security", "main", None]
    assert [role(name) for name in ("tools-bookworm", "nodistro", "jammy", "/")] == [None] * 4


def test_mirrors_by_role_in_the_hosts_order() -> None:
    mirrors = debian_mirrors(parse_sources(DEB822))
    assert {kind: [entry.uri for entry in entries] for kind, entries in mirrors.items()} == {
        "main": ["http://mirror.lab/debian", "http://second.lab/debian"],
        "updates": ["http://mirror.lab/debian", "http://second.lab/debian"],
        "security": ["http://mirror.lab/debian-security"],
    }


def test_updates_come_from_the_main_mirror_when_the_host_names_none() -> None:
    mirrors = debian_mirrors([Entry("http://m", "bookworm", ("main",))])
    assert mirrors["updates"] == mirrors["main"]
    assert "security" not in mirrors


def test_third_parties_with_debians_codenames_do_not_count_beside_debian() -> None:
    theirs = Entry("http://vendor.lab", "bookworm", ("main",), {"signed-by": "/usr/share/keyrings/vendor.gpg"})
    ours = Entry("http://mirror.lab", "bookworm", ("main",), {"signed-by": KEYRING})
    assert [entry.uri for entry in debian_mirrors([theirs, ours])["main"]] == ["http://mirror.lab"]
    assert [entry.uri for entry in debian_mirrors([theirs])["main"]] == ["http://vendor.lab"]
    assert debian_mirrors([Entry("http://m", "bookworm", ("stable",))]) == {}


def test_a_mirror_list_is_read(tmp_path: Path) -> None:
    listing = tmp_path / "mirrors.list"
    listing.write_text("http://a.lab/debian/\tpriority:1\n# http://b.lab\nhttp://c.lab/debian\n")
    entry = Entry(f"mirror+file:{listing}", "trixie", ("main",))
    mirrors = debian_mirrors([entry])
    assert [found.uri for found in mirrors["main"]] == ["http://a.lab/debian", "http://c.lab/debian"]
    assert debian_mirrors([Entry("mirror+file:/no/such/list", "trixie", ("main",))])["main"] == []


def test_a_host_with_both_formats(tmp_path: Path) -> None:
    main, parts = tmp_path / "sources.list", tmp_path / "sources.list.d"
    parts.mkdir()
    main.write_text(ONE_LINE)
    (parts / "z.sources").write_text(DEB822)
    (parts / "a.list").write_text("deb http://a.lab sid main\n")
    (parts / "a.list.bak").write_text("deb http://bak.lab sid main\n")
    found = [entry.uri for entry in read_host(main, parts)]
    assert found[0] == "http://mirror.lab/debian"
    assert found[3:5] == ["http://a.lab", "http://mirror.lab/debian/"]
    assert "http://bak.lab" not in found
    assert read_host(tmp_path / "none", tmp_path / "none.d") == []
