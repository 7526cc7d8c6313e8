"""The command line as a user runs it: help, exit codes, JSON, result files, signals."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from cli_support import leviathan
from fakes.fault_registry import Fault, FaultRegistry
from push_support import MIB, TAG, TOOLS, make_layout, start_cli

from leviathan.cli.main import COMMANDS, cli, run
from leviathan.errors import EXIT_CODES

DIGEST = f"sha256:{'1' * 64}"


def load(name: str) -> click.Command:
    found = importlib.import_module(f"leviathan.commands.{name}").command
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_what_the_list_says(name: str, golden: Callable[[str, str], None]) -> None:
    """The list in cli.py, which spares importing them, agrees with the commands; their help is a golden."""
    command = load(name)
    assert command.name == name
    # As the group hands it down; click keeps the first answer, so a test that ran before must not matter.
    names = ["-h", "--help"]
    with click.Context(
        command, info_name=f"leviathan {name}", terminal_width=100, max_content_width=100, help_option_names=names
    ) as context:
        golden(f"help-{name}.txt", command.get_help(context) + "\n")


def test_every_command_module_is_listed() -> None:
    folder = TOOLS / "leviathan" / "commands"
    assert {path.stem for path in folder.glob("[!_]*.py")} == set(COMMANDS)


def test_help_lists_commands_and_exit_codes(tmp_path: Path) -> None:
    done = leviathan(tmp_path, "--help")
    assert done.returncode == 0
    for text in (*COMMANDS, *COMMANDS.values(), *EXIT_CODES.values()):
        assert text in done.stdout
    assert leviathan(tmp_path).stdout == done.stdout
    assert leviathan(tmp_path, "--version").stdout == "leviathan 0.1.0\n"


def test_help_imports_nothing_slow_and_answers_at_once(tmp_path: Path) -> None:
    """Bound: 0.4 s on an idle machine; what would break it is an import, and that is checked by name."""
    script = (
        "import sys; from leviathan.cli.main import run; run(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(TOOLS)}, capture_output=True, text=True, check=True
    )
    for module in ("httpx", "yaml", "kubernetes", "rich", "ssl", "leviathan.push.push_image", "leviathan.site.schema"):
        assert f"'{module}'" not in done.stderr
    assert "'click'" in done.stderr
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        leviathan(tmp_path, "--help")
        seconds.append(time.monotonic() - began)
    load_per_core = os.getloadavg()[0] / (os.cpu_count() or 1)
    assert min(seconds) <= 0.4 * max(1.0, load_per_core)


@pytest.mark.parametrize("command", ["push", "tags"])
def test_unwritable_result_file_is_found_before_the_work(command: str, tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "image", (1000,))
    with FaultRegistry().serve() as registry:
        words = ("--registry", registry.host, "--set", f"image.layout={layout.path}", "--json")
        done = leviathan(tmp_path, command, *words, "--result-file", "none/r.json")
        assert registry.requests == []
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert line.startswith("error: cannot write the file (none/r.json): No such file or directory; fix: ")
        assert json.loads(done.stdout)["error"]["what"] == "cannot write the file"
        assert leviathan(tmp_path, command, *words, "--result-file", "r.json").returncode == 0  # the control


def test_site_layers(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("[cluster]\nnode = 'here'\n")
    (tmp_path / "other.toml").write_text("[cluster]\nnode = 'there'\n")

    def node(*arguments: str, **environ: str) -> tuple[str, str]:
        report = json.loads(leviathan(tmp_path, "site", "--json", *arguments, **environ).stdout)
        return report["site"]["cluster"]["node"], report["origins"]["cluster.node"]

    assert node() == ("here", "site.toml")
    assert node(LEVIATHAN_SITE="other.toml") == ("there", "other.toml")
    assert node("--site", "other.toml", LEVIATHAN_SITE="none.toml") == ("there", "other.toml")
    assert node(LEVIATHAN_CLUSTER_NODE="env") == ("env", "$LEVIATHAN_CLUSTER_NODE")
    assert node("--set", "cluster.node=set", LEVIATHAN_CLUSTER_NODE="env") == ("set", "--set")


def test_site_prints_toml_that_reads_back(tmp_path: Path) -> None:
    for arguments in (["site", "--default"], ["site", "--set", 'model.done_marker=a "b" \\ ü\t']):
        printed = leviathan(tmp_path, *arguments)
        (tmp_path / "again.toml").write_text(printed.stdout)
        again = leviathan(tmp_path, "site", "--site", "again.toml", "--json")
        assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["site"]["model"]["done_marker"] == 'a "b" \\ ü\t'


def test_render_writes_where_it_is_told(tmp_path: Path) -> None:
    shown = leviathan(tmp_path, "render", "--digest", DIGEST)
    assert shown.returncode == 0
    assert shown.stdout.startswith("---\napiVersion: v1\n")
    assert shown.stderr.startswith("start budget: load 1155 s")
    written = leviathan(tmp_path, "render", "--digest", DIGEST, "--out", "m.yaml", "--result-file", "r.json")
    assert (tmp_path / "m.yaml").read_text() == shown.stdout
    assert "5 objects" not in written.stdout
    assert "3 objects" in written.stdout
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["ok"], len(report["objects"])) == (True, 3)


def test_failure_in_json_and_result_file(tmp_path: Path) -> None:
    done = leviathan(tmp_path, "render", "--layout", "none", "--json", "--result-file", "r.json")
    assert done.returncode == 1  # nothing is pushed here, which is what 4 would say
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "r.json").read_text())
    assert report["ok"] is False
    assert report["error"]["exit_code"] == 1
    assert report["error"]["what"] == "no OCI image layout"
    assert done.stderr.startswith("error: no OCI image layout (none/oci-layout): ")
    assert "Traceback" not in done.stderr
    assert "Traceback" in leviathan(tmp_path, "render", "--layout", "none", "--debug").stderr


def test_internal_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("leviathan.commands.site.SPECS", None)
    monkeypatch.chdir(tmp_path)
    assert run(["site"]) == 1
    assert capsys.readouterr().err.startswith("error: internal error: TypeError: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, tmp_path: Path) -> None:
    done = leviathan(tmp_path, "completion", shell)
    assert done.returncode == 0
    assert f"_LEVIATHAN_COMPLETE={shell}_complete" in done.stdout


def test_completion_completes(tmp_path: Path) -> None:
    words = leviathan(
        tmp_path, COMP_WORDS="leviathan render --var", COMP_CWORD="2", _LEVIATHAN_COMPLETE="bash_complete"
    )
    assert words.stdout == "plain,--variant\n"
    names = leviathan(tmp_path, COMP_WORDS="leviathan ", COMP_CWORD="1", _LEVIATHAN_COMPLETE="bash_complete")
    assert set(names.stdout.split()) == {f"plain,{name}" for name in COMMANDS}


def test_completion_in_a_real_bash(tmp_path: Path) -> None:
    """Sourced as its help says, with `leviathan` on PATH; what TAB would offer."""
    program = tmp_path / "leviathan"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={TOOLS} exec {sys.executable} -m leviathan "$@"\n')
    program.chmod(0o755)
    script = """eval "$(leviathan completion bash)"
complete -p leviathan
for words in "leviathan ro" "leviathan render --var" "leviathan completion f"; do
    COMP_WORDS=($words) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    _leviathan_completion leviathan
    echo "${COMPREPLY[@]}"
done"""
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    argv = ["bash", "--norc", "-c", script]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=True)
    how, *offered = done.stdout.splitlines()
    assert how.endswith("-F _leviathan_completion leviathan")
    assert offered == ["rollout rollback", "--variant", "fish"], done.stderr


def test_push_and_tags(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "image", (1000,))
    with FaultRegistry().serve() as registry:
        where = ("--registry", registry.host)
        plan = leviathan(tmp_path, "push", *where, "--layout", str(layout.path), "--dry-run")
        assert "would upload 2 of 2 blobs" in plan.stdout
        assert not registry.blobs
        done = leviathan(tmp_path, "push", *where, "--layout", str(layout.path), "--result-file", "r.json")
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "r.json").read_text())
        assert (report["ok"], report["changed"], report["tags"], report["digest"]) == (True, True, [TAG], layout.digest)
        assert leviathan(tmp_path, "tags", *where).stdout == f'{{"name":"omni/engine","tags":["{TAG}"]}}\n'


def test_tags_of_a_registry_that_is_not_there_come_to_an_end_soon(tmp_path: Path) -> None:
    """Nothing listens: three attempts. With all the retries of a push it would be more than a minute."""
    with FaultRegistry().serve() as registry:
        host = registry.host
    began = time.monotonic()
    done = leviathan(tmp_path, "tags", "--registry", host, "--plain-http")
    assert time.monotonic() - began < 20
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 3
    last = done.stderr.splitlines()[-1]
    assert "Connection refused); 3 attempts in a row failed; fix: check that the registry runs and is reachable" in last


def test_push_failure_is_4(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "image", (1000,))
    with FaultRegistry(Fault("POST", status=403, code="DENIED")).serve() as registry:
        done = leviathan(tmp_path, "push", "--registry", registry.host, "--layout", str(layout.path))
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith(f"error: the registry denies access ({registry.host}): DENIED")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_lets_the_chunk_arrive(number: signal.Signals, tmp_path: Path) -> None:
    """The chunk under way arrives whole, exit 130, and the next push sends only the rest."""
    layout = make_layout(tmp_path / "image", (8 * MIB,))
    slow = Fault("PATCH", times=1000, delay_s=0.005)
    with FaultRegistry(slow).serve() as registry:
        arguments = ("push", "--registry", registry.host, "--layout", str(layout.path), "--set", "push.chunk_mib=1")
        process = start_cli(tmp_path, *arguments)
        wait_for_bytes(registry, 2 * MIB + 1)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "stopping after the current chunks" in err
        assert err.splitlines()[-1].startswith("error: stopped: ")
        [held] = registry.uploads.values()
        assert len(held) % MIB == 0
        slow.delay_s = 0
        assert start_cli(tmp_path, *arguments).wait(60) == 0
        assert registry.taken == sum(layout.blobs.values())


def test_second_signal_stops_at_once(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "image", (8 * MIB,))
    with FaultRegistry(Fault("PATCH", times=1000, delay_s=0.05)).serve() as registry:
        arguments = ("push", "--registry", registry.host, "--layout", str(layout.path), "--set", "push.chunk_mib=8")
        process = start_cli(tmp_path, *arguments)
        wait_for_bytes(registry, 1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert time.monotonic() - began < 15  # the chunk would take 25 s


def wait_for_bytes(registry: FaultRegistry, count: int) -> None:
    end = time.monotonic() + 60
    while sum(map(len, list(registry.uploads.values()))) < count:
        assert time.monotonic() < end, "no byte came"
        time.sleep(0.01)


def test_cli_object_is_named() -> None:
    assert cli.name == "leviathan"
