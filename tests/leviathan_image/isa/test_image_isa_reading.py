"""The disassembler's output, line by line: encodings, normal texts, and that no line is passed over."""

from pathlib import Path

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.isa.disassembly import disassemble, encoding, normal, parse

_OUTPUT = """\

/x/lib.so:\tfile format elf64-x86-64

Disassembly of section .text:

0000000000001000 <first>:
    1000: f3 0f 1e fa                  \tendbr64
    1004: 48 8b 05 c9 e2 1d 01         \tmovq\t0x11de2c9(%rip), %rax   # 0x13882d8 <write@GLIBC+0x13882d8>
                                       # 0x1365a78 <_ZTV+0x60>
    100b: 66 2e 0f 1f 84 00 00 00 00 00\tnopw\t%cs:(%rax,%rax)
\t\t...

0000000000002000 <second(int)>:
    2000: 62 f1 6c 08 58 5c 24 01      \tvaddps\t0x10(%rsp), %xmm2, %xmm3
    2008: 62 f1 6c 08 58 5c 24 02      \tvaddps\t0x20(%rsp), %xmm2, %xmm3
    2010: e8 eb ef ff ff               \tcallq\t0x1000 <first>
"""


def test_instructions_by_text_and_function() -> None:
    found = parse(_OUTPUT.splitlines(keepends=True), "lib.so")
    assert found.count == 6
    assert found.places == {
        "endbr64": {"first": 0x1000},
        "movq\t1(%rip), %rax": {"first": 0x1004},
        "nopw\t%cs:(%rax,%rax)": {"first": 0x100B},
        "{evex} vaddps\t1(%rsp), %xmm2, %xmm3": {"second(int)": 0x2000},
        "callq\t1": {"second(int)": 0x2010},
    }


@pytest.mark.parametrize("line", ["garbage", "  1000: zz", "warning: something", "    1000: 90"])
def test_a_line_of_an_unknown_kind_is_an_error(line: str) -> None:
    with pytest.raises(ImageError, match=r"lib\.so: the disassembler printed"):
        parse([*_OUTPUT.splitlines(), line], "lib.so")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("c5 f8 58 c1", "vex"),
        ("c4 e2 75 50 c2", "vex"),
        ("65 c5 f8 58 c1", "vex"),
        ("62 f1 6c 08 58 d9", "evex"),
        ("67 62 f1 6c 08 58 d9", "evex"),
        ("62 f4 fc 0c 01 c3", "apx"),
        ("d5 48 89 c0", "apx"),
        ("0f 58 c1", ""),
        ("66 0f 58 c5", ""),
        ("48 c5 f8 58", ""),
        ("f0", ""),
        ("8f e9 78 92 c0", ""),
    ],
)
def test_encodings(code: str, kind: str) -> None:
    assert encoding(bytes.fromhex(code)) == kind


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("c4 e2 75 50 c2", "{vex}\tvpdpbusd\t%ymm2, %ymm1, %ymm0", "{vex}\tvpdpbusd\t%ymm2, %ymm1, %ymm0"),
        ("48 0f c7 f1", "rdrandq\t%rcx", "rdrand\t%rcx"),
        ("48 83 ec 20", "subq\t$0x20, %rsp", "subq\t$1, %rsp"),
        ("64 48 8b 04 25 28 00 00 00", "movq\t%fs:0x28, %rax", "movq\t%fs:1, %rax"),
        ("48 8b 45 f8", "movq\t-0x8(%rbp), %rax", "movq\t1(%rbp), %rax"),
        ("62 e1 6c 08 58 d9", "vaddps\t(%r16), %xmm2, %xmm3", "{apx} vaddps\t(%r16), %xmm2, %xmm3"),
    ],
)
def test_normal_texts(code: str, text: str, expected: str) -> None:
    assert normal(f" {code} ", text) == expected


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n" * 10])
def test_what_is_no_library_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"x\.so"):
        disassemble(path, "llvm-objdump-19")


def test_a_file_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^cannot read \S+/absent\.so: No such file or directory: name"):
        disassemble(tmp_path / "absent.so", "llvm-objdump-19")
