"""How the three programs are called, and what happens without them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError, ToolError
from leviathan_image.isa import assembler, disassembly, march
from leviathan_image.isa.assembler import Assembler
from leviathan_image.isa.disassembly import disassemble
from leviathan_image.isa.march import features_of


def test_the_command_lines() -> None:
    assert march.argv("clang-19", "znver4") == [
        "clang-19",
        "--target=x86_64-linux-gnu",
        "-march=znver4",
        "-dM",
        "-E",
        "-x",
        "c",
        "/dev/null",
    ]
    assert disassembly.argv("llvm-objdump-19", Path("/x/-y.so")) == ["llvm-objdump-19", "-d", "/x/-y.so"]
    assert assembler.argv("as", "generic64+avx2") == [
        "as",
        "--64",
        "--no-warn",
        "-march=generic64+avx2",
        "-o",
        "/dev/null",
        "-",
    ]


def test_a_missing_program_is_named(tmp_path: Path, make_elf: Callable[..., bytes]) -> None:
    library = tmp_path / "x.so"
    library.write_bytes(make_elf({".text": b"\x90"}))
    for run in (
        lambda: features_of("znver4", "no-such-clang"),
        lambda: disassemble(library, "no-such-objdump"),
        lambda: Assembler("no-such-as"),
    ):
        with pytest.raises(ToolError, match=r"the program no-such-\w+ is not on PATH: install it"):
            run()


def test_another_assembler_is_refused() -> None:
    with pytest.raises(ToolError, match="does not list x86 extensions"):
        Assembler("true")


def test_native_is_refused_before_anything_runs() -> None:
    with pytest.raises(ImageError, match="depends on the machine"):
        features_of("native", "no-such-clang")
