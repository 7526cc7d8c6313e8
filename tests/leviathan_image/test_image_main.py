"""The command line from layer to verdict: exit codes, stdout for results, one line for every failure."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.__main__ import main

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here")

MakeTree = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("layer", ...)`: exit status, stdout, stderr."""

    def one(*argv: object) -> tuple[int, str, str]:
        status = main([str(item) for item in argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return one


@pytest.fixture
def image(run: Run, make_tree: MakeTree, tmp_path: Path) -> Path:
    """A folder with two layers and a layout, made by the commands."""
    debian, app = make_tree("debian", {"usr/bin/bash": b"#!"}), make_tree("app", {"opt/app.py": b"x = 1\n"})
    modes, config = tmp_path / "modes.json", tmp_path / "config.json"
    modes.write_text(json.dumps({"tmp": {"mode": "1777", "type": "dir"}}))
    config.write_text(json.dumps({"entrypoint": ["/usr/bin/bash"]}))
    status, out, err = run("layer", "--name", "debian", "--out", tmp_path / "l1", "--modes", modes, debian)
    assert (status, out.startswith("sha256:"), err.startswith("layer debian: 1 files")) == (0, True, True)
    assert run("layer", "--name", "app", "--out", tmp_path / "l2", "--level", "3", "--long", "27", app)[0] == 0
    layers = ("--layer", tmp_path / "l1", "--layer", tmp_path / "l2")
    digest_file = tmp_path / "digest"
    status, out, _ = run(
        "layout", "--out", tmp_path / "image", "--ref", "a:b", "--config", config, "--digest-file", digest_file, *layers
    )
    assert (status, out) == (0, digest_file.read_text())
    return tmp_path


def test_verify_and_diff_are_clean(run: Run, image: Path) -> None:
    status, out, err = run("verify", image / "image")
    assert (status, out.splitlines()[-1]) == (0, "verify: ok")
    assert "verify: layer debian" in err
    assert run("diff", image / "image", image / "image") == (0, "", "")


def test_verify_fails_with_its_findings(run: Run, image: Path) -> None:
    (image / "image/extra").write_text("x")
    status, out, _ = run("verify", image / "image", "--json")
    document = json.loads(out)
    assert (status, document["ok"], document["findings"][0]["where"]) == (1, False, "extra")


def test_diff_fails_with_its_lines(run: Run, image: Path, make_tree: MakeTree) -> None:
    other = make_tree("other", {"opt/app.py": b"x = 2\n"})
    assert run("layer", "--name", "app", "--out", image / "l3", other)[0] == 0
    layers = ("--layer", image / "l1", "--layer", image / "l3")
    assert run("layout", "--out", image / "two", "--ref", "a:b", "--config", image / "config.json", *layers)[0] == 0
    status, out, _ = run("diff", image / "image", image / "two")
    assert (status, out.splitlines()[-1]) == (1, "layer app: /opt/app.py: content differs from byte 4")
    assert json.loads(run("diff", "--json", image / "image", image / "two")[1]) == out.splitlines()


def test_the_table_and_its_budget(run: Run, image: Path) -> None:
    budget = image / "budget.json"
    document = {"total_compressed": 10_000, "layers": {"debian": 5_000, "app": 5_000}, "big_files": {}}
    budget.write_text(json.dumps(document))
    assert run("table", "--budget", budget, image / "l1", image / "l2")[0] == 0
    budget.write_text(json.dumps({**document, "layers": {"debian": 1}}))
    status, out, _ = run("table", "--budget", budget, image / "l1", image / "l2")
    assert status == 1
    assert "OVER" in out
    assert "app: this layer has no budget" in out
    assert json.loads(run("table", "--json", "--budget", budget, image / "l1", image / "l2")[1])["ok"] is False


def test_device_code(run: Run, make_tree: MakeTree, data: Path) -> None:
    tree = make_tree("t", {"k.fatbin": (data / "wanted-12.8.fatbin").read_bytes()})
    status, out, _ = run("device-code", "--wanted", "sm_90a,sm_100,sm_120", tree)
    assert (status, out.splitlines()[0]) == (0, "/k.fatbin: sm_90a sm_100 sm_120")
    status, out, _ = run("device-code", "--wanted", "sm_90a,sm_100", tree)
    assert (status, "not wanted: sm_120" in out) == (1, True)


def test_hygiene(run: Run, make_tree: MakeTree, image: Path) -> None:
    assert run("hygiene", "--layer", image / "l1", image / "debian", image / "app")[0] == 0
    status, out, _ = run("hygiene", make_tree("t", {"x": b"/nix/store/y"}), "--json")
    assert (status, json.loads(out)["findings"][0]["check"]) == (1, "build-path")


@pytest.mark.skipif(
    shutil.which("clang-19") is None or shutil.which("llvm-objdump-19") is None, reason="no LLVM 19 here"
)
def test_isa(run: Run, tmp_path: Path) -> None:
    source, out_file = tmp_path / "f.c", tmp_path / "f.o"
    source.write_text("float f(float *a) { float s = 0; for (int i = 0; i < 64; i++) s += a[i] * a[i]; return s; }\n")
    subprocess.run(
        ["clang-19", "-O3", "-ffast-math", "-march=znver4", "-c", str(source), "-o", str(out_file)], check=True
    )
    assert run("isa", "--march", "znver4", out_file)[0] == 0
    status, out, _ = run("isa", "--march", "x86-64", out_file)
    assert (status, "f.o: f: 0x" in out) == (1, True)


def test_user_errors_are_one_line_without_a_traceback(run: Run, tmp_path: Path) -> None:
    status, out, err = run("layer", "--name", "a", "--out", tmp_path / "o", tmp_path / "absent")
    assert (status, out) == (1, "")
    assert err.startswith("leviathan_image: the tree ")
    assert err.count("\n") == 1
    status, _, err = run(
        "layout", "--out", tmp_path / "o", "--ref", "a", "--config", tmp_path / "x", "--layer", tmp_path
    )
    assert (status, err.count("\n")) == (1, 1)
    status, _, err = run("isa", "--march", "native", tmp_path)
    assert (status, "native" in err) == (1, True)


def test_a_path_that_cannot_be_written_is_one_line(run: Run, image: Path) -> None:
    (image / "digest").unlink()
    (image / "digest").mkdir()
    argv = ("layout", "--out", image / "new", "--ref", "a", "--config", image / "config.json", "--layer", image / "l1")
    status, _, err = run(*argv, "--digest-file", image / "digest")
    assert (status, err.count("\n"), "Is a directory" in err) == (1, 1, True)


@pytest.mark.parametrize("argv", [[], ["unknown"], ["layer", "x"], ["device-code", "--wanted", ",", "x"], ["verify"]])
def test_a_wrong_command_line_exits_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2


def test_it_runs_as_a_module() -> None:
    tools = Path(__file__).parents[2] / "tools"
    argv = [sys.executable, "-m", "leviathan_image", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tools)})
    assert all(
        name in done.stdout for name in ("layer", "layout", "verify", "table", "diff", "device-code", "isa", "hygiene")
    )
