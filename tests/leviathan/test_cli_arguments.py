"""Wrong command lines: one line that says what is expected, status 2, and the error in the result."""

import json
from pathlib import Path

import pytest
from cli_support import leviathan


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pish"], "error: no such command: pish (nearest: push); fix: leviathan --help"),
        (
            ["push", "--layuot", "x"],
            "error: no such option: --layuot (nearest: --layout); fix: leviathan push --help",
        ),
        (["push", "-q"], "error: no such option: -q; fix: leviathan push --help"),
        (["deploy", "now"], "error: expected no further argument, got 'now'; fix: leviathan deploy --help"),
        (["deploy", "sites"], "error: expected no further argument, got 'sites'; fix: leviathan deploy --help"),
        (["deploy", ""], "error: expected no further argument, got ''; fix: leviathan deploy --help"),
        (["diff", "a", "b"], "error: expected no further argument, got 'a b'; fix: leviathan diff --help"),
        (
            ["push", "--parallel", "many"],
            "push.parallel (command line): expected an integer from 1 to 32, got the",
        ),
        (
            ["logs", "--tail", "x"],
            "error: --tail: expected an integer of 0 or more, such as 100, got 'x'; fix: leviat",
        ),
        (
            ["plan", "--numa-nodes", "0"],
            "error: --numa-nodes: expected an integer from 1 to 64, such as 2, got '0'; fix: l",
        ),
        (
            ["top", "--every", "0"],
            "error: --every: expected a number of 0.1 or more, such as 5, got '0'; fix: leviathan t",
        ),
        (["tags", "--registry"], "error: --registry: expected a value; fix: leviathan tags --help"),
        (["tags", "--registry", "r:65536"], "got 'r:65536'; a port is an integer from 1 to 65535; fix: "),
        (["tags", "--registry", "r:x"], "got 'r:x'; a port is an integer from 1 to 65535; fix: "),
        (["render", "--variant", "open"], "--variant: expected privileged or unprivileged, got 'open'; fix: l"),
        (["site", "--set", "push.paralel=1"], "nearest: push.parallel"),
        (["site", "--site", "none.toml"], "cannot read the site file (none.toml)"),
        (
            ["completion", "tcsh"],
            "error: SHELL: expected bash, zsh or fish, got 'tcsh'; fix: leviathan completion --help",
        ),
        (["completion"], "error: SHELL: expected bash, zsh or fish; fix: leviathan completion --help"),
    ],
)
def test_usage_errors_are_one_line_and_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = leviathan(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["pish"],
        ["push", "--layuot", "x"],
        ["push", "--parallel", "many"],
        ["site", "--set", "push.paralel=1"],
        ["diff", "x"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_in_the_result(arguments: list[str], tmp_path: Path) -> None:
    """An earlier run's success does not stay, wherever the option stands; a result file without a name is nowhere."""
    (tmp_path / "r.json").write_text('{"ok": true}')
    done = leviathan(tmp_path, *arguments, "--json", "--result-file", "r.json")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "r.json").read_text())
    assert report["ok"] is False
    assert report["error"]["exit_code"] == 2
    assert done.stderr.startswith(f"error: {report['error']['what']}")
    (tmp_path / "r.json").write_text('{"ok": true}')
    assert leviathan(tmp_path, arguments[0], "--result-file=r.json", *arguments[1:]).returncode == 2
    assert json.loads((tmp_path / "r.json").read_text())["ok"] is False
    assert leviathan(tmp_path, *arguments, "--result-file").returncode == 2


def test_help_leaves_the_result_file(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"ok": true}')
    assert leviathan(tmp_path, "push", "--result-file", "r.json", "--help").returncode == 0
    assert (tmp_path / "r.json").read_text() == '{"ok": true}'
