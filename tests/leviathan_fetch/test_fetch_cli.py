"""The command line as a process: exit codes, one line an error, interrupted and resumed, two at a time."""

import hashlib
import json
import os
import signal
import subprocess

import pytest
from checkouts import BODY, Checkout

from leviathan_fetch.lockfile import exclusive


def test_everything_comes_in_and_a_second_fetch_has_nothing_to_do(checkout: Checkout) -> None:
    call = checkout.artifacts([checkout.deb("a.deb", b"1"), checkout.wheel("b-1-py3-none-any.whl", b"22")])
    first = checkout.run(*call)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "fetch: 2 artifacts in the store, 2 of them new (3 B downloaded)\n"
    assert checkout.added() == ["a.deb", "b-1-py3-none-any.whl"]
    asked = len(checkout.site.requests)
    second = checkout.run(*call, "--json")
    assert (second.returncode, json.loads(second.stdout)) == (0, {"artifacts": 2, "added": 0, "received": 0})
    assert len(checkout.site.requests) == asked


def test_artifacts_are_kept_from_the_garbage_collector(checkout: Checkout) -> None:
    a, b = checkout.deb("a.deb", b"1"), checkout.deb("b.deb", b"2")
    roots = checkout.folder / ".leviathan" / "roots"

    def links() -> list[str]:
        return sorted(str(link.readlink()) for link in roots.iterdir() if link.is_symlink())

    checkout.run(*checkout.artifacts([a, b]))
    assert links() == sorted([a["store"], b["store"]])
    made = (roots / "a").lstat().st_ctime_ns
    checkout.run(*checkout.artifacts([a, b]))
    assert (roots / "a").lstat().st_ctime_ns == made
    checkout.run(*checkout.artifacts([b]))
    assert links() == [b["store"]]


def test_the_list_can_come_on_stdin(checkout: Checkout) -> None:
    checkout.artifacts([checkout.deb("a.deb", b"1")])
    with (checkout.folder / "list.json").open() as stream:
        child = subprocess.run(
            checkout.argv("fetch", "--artifacts", "-"),
            cwd=checkout.folder,
            env=checkout.environment,
            stdin=stream,
            check=False,
        )
    assert child.returncode == 0
    assert checkout.added() == ["a.deb"]


def test_a_failed_artifact_is_a_line_and_the_status_is_1(checkout: Checkout) -> None:
    gone = checkout.deb("gone.deb", b"1")
    del checkout.site.resources["/debian/pool/gone.deb"]
    done = checkout.run(*checkout.artifacts([gone, checkout.deb("a.deb", b"2")]))
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.endswith("/debian/pool/gone.deb is not there (HTTP 404); make lock")
    assert second == "leviathan: 1 of 2 artifacts could not be fetched, see above"
    assert checkout.added() == ["a.deb"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fetch_exits_130_and_is_gone_on_with(checkout: Checkout, number: signal.Signals) -> None:
    call = checkout.artifacts([checkout.deb("a.deb", b"1"), checkout.wheel("b-1-py3-none-any.whl", stall=1_500_000)])
    child = checkout.start(*call)
    assert checkout.site.stalled.wait(30)
    part = checkout.folder / ".leviathan" / "downloads" / hashlib.sha256(BODY).hexdigest() / "part"
    while not part.exists() or part.stat().st_size < 1_000_000:
        assert child.poll() is None
    child.send_signal(number)
    _, talk = child.communicate(timeout=20)
    assert child.returncode == 130
    assert talk == "leviathan: fetch was interrupted; run it again to resume\n"
    assert "b-1-py3-none-any.whl" not in checkout.added()
    have = part.stat().st_size
    checkout.site.resources["/files/b-1-py3-none-any.whl"].stall = None
    again = checkout.run(*call)
    assert again.returncode == 0
    assert checkout.site.ranges("/files/b-1-py3-none-any.whl") == [None, f"bytes={have}-"]
    assert checkout.added() == ["a.deb", "b-1-py3-none-any.whl"]


def test_a_killed_fetch_leaves_nothing_broken(checkout: Checkout) -> None:
    call = checkout.artifacts([checkout.wheel("b-1-py3-none-any.whl", stall=500_000)])
    child = checkout.start(*call)
    assert checkout.site.stalled.wait(30)
    child.kill()
    child.communicate()
    checkout.site.resources["/files/b-1-py3-none-any.whl"].stall = None
    assert checkout.run(*call).returncode == 0
    assert checkout.added() == ["b-1-py3-none-any.whl"]


def test_a_fetch_that_ended_before_the_store_had_the_file_downloads_nothing_again(checkout: Checkout) -> None:
    call = checkout.artifacts([checkout.deb("a.deb")])
    folder = checkout.folder / ".leviathan" / "downloads" / hashlib.sha256(BODY).hexdigest()
    folder.mkdir(parents=True)
    (folder / "a.deb").write_bytes(BODY)
    done = checkout.run(*call, "--json")
    assert json.loads(done.stdout) == {"artifacts": 1, "added": 1, "received": 0}
    assert checkout.site.requests == []


def test_two_fetches_at_a_time_one_waits_and_downloads_nothing(checkout: Checkout) -> None:
    name = "b-1-py3-none-any.whl"
    call = checkout.artifacts([checkout.wheel(name, stall=100)])
    first = checkout.start(*call)
    assert checkout.site.stalled.wait(30)
    second = checkout.start(*call)
    assert second.stderr is not None
    said = second.stderr.readline()
    assert said == f"fetch: waiting for another fetch (process {first.pid}) in this checkout\n"
    checkout.site.resources[f"/files/{name}"].stall = None
    checkout.site.ended.set()  # the first answer now ends short; the first fetch resumes with Range
    assert first.wait(30) == 0
    out, _ = second.communicate(timeout=30)
    assert (second.returncode, out) == (0, "fetch: 1 artifacts in the store, nothing to fetch\n")
    first.communicate()
    assert checkout.site.ranges(f"/files/{name}") == [None, "bytes=100-"]


def test_links_are_made_under_the_lock(checkout: Checkout) -> None:
    """A fetch that only needs other links waits for the running one; one that needs nothing does not."""
    a, b = checkout.deb("a.deb", b"1"), checkout.deb("b.deb", b"2")
    assert checkout.run(*checkout.artifacts([a, b])).returncode == 0
    state = checkout.folder / ".leviathan"
    with exclusive(state / "fetch.lock", print):
        assert checkout.run(*checkout.artifacts([a, b])).stderr == ""
        child = checkout.start(*checkout.artifacts([b]))
        assert child.stderr is not None
        assert "waiting for another fetch" in child.stderr.readline()
        assert len(list(state.glob("roots/a*"))) == 2
    _, talk = child.communicate(timeout=30)
    assert (child.returncode, talk) == (0, "")
    assert [str(link.readlink()) for link in state.glob("roots/a*")] == [b["store"]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[\n{", "leviathan: list.json:2:2 is not JSON"),
        ('[{"kind": "deb", "nmae": "x"}]', "leviathan: list.json: artifact 0: without a name: unknown key nmae"),
    ],
)
def test_a_list_that_is_no_good_is_one_line(checkout: Checkout, text: str, line: str) -> None:
    (checkout.folder / "list.json").write_text(text)
    done = checkout.run("fetch", "--artifacts", "list.json")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith(line)


def test_a_list_that_is_no_text_is_one_line(checkout: Checkout) -> None:
    (checkout.folder / "list.json").write_bytes(b'["\xff"]')
    done = checkout.run("fetch", "--artifacts", "list.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "leviathan: list.json is not UTF-8 at byte 2; correct --artifacts\n"


def test_a_machine_without_nix(checkout: Checkout) -> None:
    call = checkout.artifacts([checkout.deb("a.deb", b"1")])
    done = checkout.run(*call, PATH="/nonexistent")
    assert done.returncode == 1
    assert done.stderr.startswith("leviathan: this host has no Nix (nix-store is not on PATH); apt-get install nix-bin")


def test_debug_shows_commands_and_tracebacks(checkout: Checkout) -> None:
    (checkout.folder / "list.json").write_text("[")
    assert "Traceback" in checkout.run("fetch", "--artifacts", "list.json", "--debug").stderr
    call = checkout.artifacts([checkout.deb("a.deb", b"1")])
    assert "+ nix-store --check-validity" in checkout.run(*call, "--debug").stderr


def test_a_lock_that_is_too_big_for_the_disk(checkout: Checkout) -> None:
    record = checkout.deb("a.deb", b"1") | {"size": 1 << 60}
    done = checkout.run(*checkout.artifacts([record]))
    assert done.returncode == 1
    assert "free, but at least" in done.stderr
    assert done.stderr.endswith("free some disk space and run it again\n")
    assert checkout.site.requests == []


def test_outside_a_checkout(checkout: Checkout) -> None:
    done = checkout.run("lock", "--check", "--project", "/")
    assert (done.returncode, done.stderr) == (
        1,
        "leviathan: / is not inside a checkout of Leviathan; go there, or give it with --project DIR\n",
    )


@pytest.mark.parametrize("arguments", [[], ["fetch", "--jobs", "0"], ["lock", "nope"], ["fetch", "--nope"]])
def test_usage_errors_exit_2(checkout: Checkout, arguments: list[str]) -> None:
    assert checkout.run(*arguments).returncode == 2


def test_lock_check_is_quiet_about_locks_that_fit_and_names_those_that_do_not(checkout: Checkout) -> None:
    fits = checkout.run("lock", "--check")
    assert (fits.returncode, fits.stdout) == (0, "lock: every lock fits its roots\n")
    for file in (checkout.folder / "pyproject.toml", checkout.folder / "nix" / "locks" / "debian-roots.json"):
        file.write_text(file.read_text().replace('"httpx (>=0.28,<0.29)"', '"httpx"').replace('"bash",', '"bash" ,'))
    stale = checkout.run("lock", "--check")
    assert stale.returncode == 1
    assert stale.stdout.splitlines() == [
        "debian.json is older than debian-roots.json: run make lock",
        "poetry.lock does not match the pyproject.toml next to it: run make lock",
    ]
    engine = checkout.run("lock", "--check", "engine", "--json")
    assert (engine.returncode, json.loads(engine.stdout)) == (0, {"stale": []})


@pytest.mark.parametrize("option", ["index-url", "debian-mirror", "debian-security-mirror"])
@pytest.mark.parametrize("by", ["option", "environment"])
def test_an_address_that_is_none_is_one_line_that_names_the_option(checkout: Checkout, option: str, by: str) -> None:
    variable = "LEVIATHAN_" + option.upper().replace("-", "_")
    given = [f"--{option}", "foo"] if by == "option" else []
    environment = {variable: "foo"} if by == "environment" else {}
    call = checkout.artifacts([checkout.deb("a.deb", b"1"), checkout.wheel("b-1-py3-none-any.whl", b"22")])
    done = checkout.run(*call, *given, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"leviathan: --{option}: expected an address such as https://host/path, got 'foo'; "
        f"correct it, or {variable} in the environment\n"
    )


def test_a_working_folder_that_is_a_file_is_one_line(checkout: Checkout) -> None:
    (checkout.folder / ".leviathan").touch()
    done = checkout.run(*checkout.artifacts([checkout.deb("a.deb", b"1")]))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith(f"leviathan: {checkout.folder}/.leviathan cannot be used: ")
    assert "there is a file in place of a folder" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_working_folder_of_another_user_is_one_line(checkout: Checkout) -> None:
    (checkout.folder / ".leviathan").mkdir(mode=0o555)
    done = checkout.run(*checkout.artifacts([checkout.deb("a.deb", b"1")]))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "fetch.lock cannot be used: Permission denied; give it to this user" in done.stderr
