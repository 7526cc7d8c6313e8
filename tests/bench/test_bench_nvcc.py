"""Where NVIDIA's nvcc is looked for, how the two race, and what the rows say when one is missing or is stopped."""

import sys
import zipfile
from pathlib import Path

import marlin_source
import pytest

from bench import compile_race, nvcc
from bench.errors import Missing
from bench.table import NotRun, Row, Verdict
from bench.wheels import Wheels


def toolkit(folder: Path, *names: str) -> Path:
    """A folder with these files in bin/, executable."""
    for name in names:
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / name).write_text("#!/bin/sh\n")
        (folder / "bin" / name).chmod(0o755)
    return folder


def test_the_toolkit_is_found_in_this_order(tmp_path: Path) -> None:
    named, path, usual = (toolkit(tmp_path / name, "nvcc", "cudafe++") for name in ("named", "path", "usual"))
    environment = {"CUDA_HOME": str(named), "PATH": str(path / "bin")}
    assert nvcc.on_this_machine(environment, usual) == named
    assert nvcc.on_this_machine({"CUDA_PATH": str(named)}, usual) == named
    assert nvcc.on_this_machine({"PATH": str(path / "bin")}, usual) == path
    assert nvcc.on_this_machine({"PATH": ""}, usual) == usual
    assert nvcc.on_this_machine({"PATH": ""}, tmp_path / "none") is None


def test_our_own_toolkit_is_not_nvidias(tmp_path: Path) -> None:
    ours = toolkit(tmp_path / "ours", "nvcc", "ptxas")
    environment = {"CUDA_HOME": str(ours), "PATH": str(ours / "bin")}
    assert nvcc.on_this_machine(environment, tmp_path / "none") is None
    with pytest.raises(Missing, match=r"has no bin/cudafe\+\+"):
        nvcc.find(ours, {})


def test_without_one_pip_is_asked_and_its_reason_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none() -> Path:
        raise Missing("no nvidia-cuda-nvcc==13.0.88: pip ended with 1")

    monkeypatch.setattr(nvcc, "from_wheels", none)
    monkeypatch.setattr(nvcc, "on_this_machine", lambda _: None)
    with pytest.raises(Missing, match=r"no nvcc on this machine .*, and no nvidia-cuda-nvcc==13.0.88: pip ended"):
        nvcc.find(None, {})


def test_the_wheels_are_pinned_and_make_one_toolkit(tmp_path: Path) -> None:
    assert [str(pin) for pin in nvcc.WHEELS.pins()][:2] == ["nvidia-cuda-nvcc==13.0.88", "nvidia-nvvm==13.0.88"]
    assert {len(pin.sha256) for pin in nvcc.WHEELS.pins()} == {64}
    wheels = []
    for name, member in (("a", "bin/nvcc"), ("b", "nvvm/bin/cicc"), ("c", "include/cuda.h")):
        with zipfile.ZipFile(tmp_path / f"{name}.whl", "w") as archive:
            archive.writestr(f"nvidia/cu13/{member}", "x")
        wheels.append(tmp_path / f"{name}.whl")
    nvcc.unpack(wheels, tmp_path / "toolkit")
    assert (tmp_path / "toolkit/bin/nvcc").stat().st_mode & 0o111
    assert (tmp_path / "toolkit/nvvm/bin/cicc").stat().st_mode & 0o111
    assert not (tmp_path / "toolkit/include/cuda.h").stat().st_mode & 0o111


def test_an_unpacked_toolkit_is_taken_as_it_is(tmp_path: Path) -> None:
    requirements = tmp_path / "nvcc.txt"
    requirements.write_text(f"nvidia-cuda-nvcc==1 --hash=sha256:{'0' * 64}\n")
    (tmp_path / "nvidia-cuda-nvcc-1").mkdir()
    assert nvcc.from_wheels(tmp_path, Wheels(requirements, ())) == tmp_path / "nvidia-cuda-nvcc-1"


def script(text: str) -> list[str]:
    """A compiler's argv."""
    return [sys.executable, "-c", text]


def test_both_take_turns(tmp_path: Path) -> None:
    log = tmp_path / "log"
    note = f"open({str(log)!r}, 'a').write"
    found = compile_race.race(script(f"{note}('o')"), script(f"{note}('t')"), rounds=3)
    assert log.read_text() == "ottoot"
    assert (len(found["ours"]), len(found["theirs"]), found["stopped"]) == (3, 3, None)  # type: ignore[arg-type]


def test_one_that_takes_too_long_is_stopped_with_its_children_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_race, "PATIENCE", 2)
    log = tmp_path / "log"
    child = f"open({str(log)!r}, 'a').write('t'); import time; time.sleep(100)"
    theirs = script(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    found = compile_race.race(script("import time; time.sleep(0.3)"), theirs, rounds=2)
    assert log.read_text() == "t"
    assert found["theirs"] == []
    assert isinstance(found["stopped"], float)
    assert 0.6 <= found["stopped"] < 10


def test_a_compiler_that_fails_is_no_figure() -> None:
    with pytest.raises(compile_race.RaceError, match=r"ended with 3: no such header"):
        compile_race.compiled(script("import sys; print('no such header'); sys.exit(3)"), None)


def test_both_get_the_same_flags_and_source(tmp_path: Path) -> None:
    source, out = tmp_path / "m.cu", tmp_path / "m.o"
    ours = compile_race.command(tmp_path / "ours", source, out)
    theirs = compile_race.command(tmp_path / "theirs", source, out, ["-ccbin", "g++-12"])
    assert [word for word in theirs if word not in {"-ccbin", "g++-12"}][1:] == ours[1:]
    assert [word for word in ours if "gencode" in word] == ["-gencode=arch=compute_90a,code=sm_90a"]


def test_marlin_is_thinned_out_and_another_source_is_told() -> None:
    lists = "    __CALL_IF(NUM_BITS, 1, N_BLOCKS, K_BLOCKS, true, 0, NUM_THREADS)   \\\n"
    lists += "    __CALL_IF(NUM_BITS, 4, N_BLOCKS, K_BLOCKS, false, 4, NUM_THREADS)  \\\n"
    lists += "    __CALL_IF(NUM_BITS, 4, N_BLOCKS, K_BLOCKS, false, 8, NUM_THREADS)\n"
    text = f"#define CALL_IF \\\n{lists}\n        CALL_IF(4, 32, 2, 256)\n        CALL_IF(8, 32, 2, 256)\n"
    left = marlin_source.needed(text)
    assert left.count("__CALL_IF") == 1
    assert "false, 4, NUM_THREADS" in left
    assert "CALL_IF(4, 32, 2, 256)" in left
    assert "CALL_IF(8" not in left
    with pytest.raises(ValueError, match=r"gptq_marlin.cu has no"):
        marlin_source.needed("int main() {}")


FOUND = {"ours": [22.0, 21.0], "theirs": [95.0, 94.0], "stopped": None, "version": "13.0.88"}


def test_rows() -> None:
    (row,) = nvcc.rows(FOUND, "")
    assert isinstance(row, Row)
    assert (row.ours, row.theirs, row.against, row.at_least) == (21.0, 94.0, "nvcc 13.0.88", False)
    assert row.verdict is Verdict.GOOD
    (slower,) = nvcc.rows(FOUND | {"theirs": [20.0]}, "")
    assert slower.verdict is Verdict.OVER


def test_one_that_was_stopped_needs_at_least_that() -> None:
    (row,) = nvcc.rows(FOUND | {"theirs": [], "stopped": 210.0}, "")
    assert row.cells()[2:4] == ("≥ 210 s (nvcc 13.0.88, stopped)", "< 0.10, ≤ 1")


def test_without_nvcc_ours_is_measured_and_why_is_told() -> None:
    ours, why = nvcc.rows(FOUND | {"theirs": [], "version": None}, "no nvcc on this machine")
    assert isinstance(ours, Row)
    assert (ours.ours, ours.theirs) == (21.0, None)
    assert isinstance(why, NotRun)
    assert (why.verdict.value, why.why) == ("not run", "no nvcc on this machine")


def test_the_race_is_a_new_build_each_time_and_binds_the_toolkit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []
    (tmp_path / "out").write_text('{"ours": [1]}')

    def build(*argv: str) -> list[Path]:
        asked.append(argv)
        return [tmp_path / "out"]

    monkeypatch.setattr("bench.nix.build", build)
    assert nvcc.race(None) == nvcc.race(tmp_path) == {"ours": [1]}
    assert asked[0][3] == "nonce"
    assert asked[0][4] != asked[1][4]
    assert "extra-sandbox-paths" not in asked[0]
    assert asked[1][-6:] == (
        *("--argstr", "theirs", "--theirs /nix/nvcc"),
        *("--option", "extra-sandbox-paths", f"/nix/nvcc={tmp_path}"),
    )


def test_in_the_sandbox_without_the_bind_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    argv = ["compile_race.py", "--ours", "/o", "--theirs", str(tmp_path), "--source", "/s", "--out", "/x"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", argv)
        assert compile_race.main() == 1
    assert "is this user one Nix trusts?" in capsys.readouterr().err
