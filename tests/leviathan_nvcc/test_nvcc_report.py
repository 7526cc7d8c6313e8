"""ptxas's statistics: read, written, and compared with limits."""

import json
from pathlib import Path

import pytest

from leviathan_nvcc import report
from leviathan_nvcc.report import Kernel

# As ptxas 12.8.93 prints it: a kernel with spills and one without, a device function, a warning.
SAID = """ptxas info    : 4 bytes gmem
ptxas info    : Compiling entry function '_Z3bigPf' for 'sm_90a'
ptxas info    : Function properties for _Z3bigPf
    432 bytes stack frame, 400 bytes spill stores, 560 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 432 bytes cumulative stack size, 1024 bytes smem
ptxas info    : Compile time = 3.035 ms
ptxas warning : Value of threads per SM for entry _Z3bigPf is out of range
ptxas info    : Compiling entry function 'small' for 'sm_90a'
ptxas info    : Function properties for small
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
ptxas info    : Function properties for _Z6helperi
    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
"""
BIG = Kernel("_Z3bigPf", "sm_90a", 255, 432, 400, 560, 1024)
SMALL = Kernel("small", "sm_90a", 8, 0, 0, 0, 0)


def test_parse() -> None:
    assert report.parse(SAID) == (BIG, SMALL)
    assert (BIG.arrays, SMALL.arrays) == (32, 0)


def test_messages_are_what_is_not_statistics() -> None:
    assert report.messages(SAID) == "ptxas warning : Value of threads per SM for entry _Z3bigPf is out of range\n"


def test_reports_do_not_depend_on_the_order_of_compilation() -> None:
    other = Kernel("small", "sm_120", 8, 0, 0, 0, 0)
    assert report.render("x.o", [BIG, SMALL, other]) == report.render("x.o", [other, SMALL, BIG])
    assert json.loads(report.render("x.o", [BIG]))["kernels"][0]["spill_stores"] == 400


def test_reports_read_back(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(report.render("a.o", [BIG]))
    (tmp_path / "b.json").write_text(report.render("b.o", [SMALL]))
    rows = [("a.o", BIG), ("b.o", SMALL)]
    assert list(report.load([tmp_path])) == rows
    assert list(report.load([tmp_path / "b.json"])) == rows[1:]


@pytest.mark.parametrize(("arrays", "spills", "failing"), [(32, 400, 0), (31, 400, 1), (32, 399, 1)])
def test_limits(arrays: int, spills: int, failing: int) -> None:
    lines = report.failures([("a.o", BIG), ("b.o", SMALL)], arrays, spills)
    assert len(lines) == failing
    assert all(line.startswith("a.o: _Z3bigPf for sm_90a: 432 bytes of stack, 400 of them spills") for line in lines)


def test_the_check_passes_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.json"
    file.write_text(report.render("a.o", [BIG, SMALL]))
    assert report.main(["check", "--arrays", "32", str(file)]) == 0
    assert capsys.readouterr().out == "2 kernels, 0 over the limits, most spills 400 bytes\n"
    assert report.main(["check", str(file)]) == 1
    assert "_Z3bigPf for sm_90a" in capsys.readouterr().err
    assert report.main(["show", str(file)]) == 0
    assert "sm_90a 255 432 400 560 1024 _Z3bigPf\n" in capsys.readouterr().out


BAD = [
    ("", "not a report of leviathan_nvcc"),
    ("[]", "not a report"),
    ('{"object": "x", "kernels": [{}]}', "not a report"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_what_is_no_report_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    assert report.main(["check", str(file)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_check_of_nothing_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["check", str(tmp_path)]) == 1
    assert "compile with LEVIATHAN_NVCC_REPORT_DIR set" in capsys.readouterr().err
    (tmp_path / "a.json").write_text(report.render("a.o", []))
    assert report.main(["check", str(tmp_path)]) == 1
    assert "nothing was checked" in capsys.readouterr().err
