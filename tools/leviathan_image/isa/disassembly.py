"""An ELF file as its distinct instructions, each with the functions that hold it."""

import mmap
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from leviathan_image import elf
from leviathan_image.errors import ImageError, ToolError
from leviathan_image.isa.tools import missing

_SYMBOL = re.compile(r"([0-9a-f]{8,16}) <(.*)>:$")
_NUMBER = re.compile(r"-?0x[0-9a-f]+")
_SUFFIXED = re.compile(r"(rdrand|rdseed|(?:rd|wr)[fg]sbase|a(?:add|and|or|xor))[wlq]\t")
_HIGH_REGISTER = re.compile(r"%r(?:1[6-9]|2\d|3[01])[bwd]?\b")
_LEGACY_PREFIXES = frozenset(b"\x66\x67\xf2\xf3\xf0\x2e\x36\x3e\x26\x64\x65")
_MARKED = _LEGACY_PREFIXES | frozenset(b"\x62\xc4\xc5\xd5")
_PLAIN = frozenset(f"{byte:02x}" for byte in range(256) if byte not in _MARKED)
_FORMAT = "file format elf64-x86-64"
_SECTION = "Disassembly of section "


@dataclass(frozen=True, slots=True)
class Disassembly:
    """`places`: the text of each distinct instruction → function → address of its first use there. `count`: all
    instructions that were read. Numbers in a text are replaced, since no feature depends on them; `{vex}` or `{evex}`
    is put before it by its bytes, since the text alone does not say which encoding it has.
    """

    places: dict[str, dict[str, int]]
    count: int


def argv(objdump: str, path: Path) -> list[str]:
    """The command that disassembles every executable section."""
    return [objdump, "-d", str(path.absolute())]


def disassemble(path: Path, objdump: str) -> Disassembly:
    """Disassemble the x86-64 ELF file at `path` with LLVM's `objdump`. Raises ImageError where it is none."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data,
            memoryview(data) as view,
        ):
            header = elf.header(view)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", "name the built library") from error
    except ValueError as error:  # mmap's word for an empty file
        raise ImageError(f"{path} is empty", "name the built library") from error
    if header is None or header.machine != elf.EM_X86_64:
        raise ImageError(f"{path} is not an ELF file for x86-64", "name the built library")
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        process = subprocess.Popen(argv(objdump, path), stdout=subprocess.PIPE, text=True, env=environment)
    except FileNotFoundError as error:
        raise missing(objdump) from error
    with process:
        assert process.stdout is not None
        found = parse(process.stdout, str(path))
    if process.returncode:
        raise ToolError(f"{objdump} failed on {path} with status {process.returncode}", "its own message is above")
    return found


def parse(lines: Iterable[str], name: str) -> Disassembly:
    """The instructions in the output of llvm-objdump. Raises ImageError on a line that is none of its known kinds, so
    that nothing is passed over; `name` is the file's, for that message.
    """
    places: dict[str, dict[str, int]] = {}
    symbol, count = "?", 0
    for raw in lines:
        line = raw.rstrip("\n")
        head, tab, text = line.partition("\t")
        address, colon, code = head.partition(":")
        if text.startswith(_FORMAT):
            continue
        if tab and colon and text:
            count += 1
            key = normal(code, text)
            functions = places.get(key)
            if functions is None:
                functions = places[key] = {}
            if symbol not in functions:
                functions[symbol] = int(address, 16)
        elif match := _SYMBOL.match(line):
            symbol = match[2]
        elif not _carries_nothing(line):
            raise ImageError(f"{name}: the disassembler printed {line!r}", "this program must learn that line")
    return Disassembly(places, count)


def _carries_nothing(line: str) -> bool:
    """Whether a line is blank, a section's title, the rest of a long comment, or stands for a run of zero bytes."""
    text = line.strip()
    return not text or text == "..." or text.startswith(("#", _SECTION))


def normal(code: str, text: str) -> str:
    """The text of one instruction with its encoding before it and its numbers replaced: `{evex} vaddps\\t1(%rax), ...`.

    Arguments: `code`, its bytes in hexadecimal with blanks; `text`, its mnemonic, a tab and operands, in LLVM's words.
    """
    if "0x" in text:
        text = _NUMBER.sub("1", text.partition("#")[0].partition(" <")[0].rstrip())
    if text[0] in "rwa":
        text = _SUFFIXED.sub(r"\1\t", text)
    mark = "" if code[1:3] in _PLAIN else encoding(bytes.fromhex(code))
    if not mark:
        return text
    if mark == "apx" or _HIGH_REGISTER.search(text):
        return f"{{apx}} {text}"
    return text if text.startswith("{") else f"{{{mark}}} {text}"


def encoding(code: bytes) -> str:
    """How an instruction's bytes are encoded: `vex`, `evex`, `apx` (a REX2 prefix or EVEX map 4) or empty for all
    else (Intel SDM volume 2, 2.3 and 2.7; Intel APX specification, 3.1).
    """
    place = 0
    while place < len(code) and code[place] in _LEGACY_PREFIXES:
        place += 1
    lead = code[place : place + 2]
    if not lead:
        return ""
    if lead[0] == 0xD5:
        return "apx"
    if lead[0] == 0x62 and len(lead) == 2:
        return "apx" if lead[1] & 7 == 4 else "evex"
    return "vex" if lead[0] in {0xC4, 0xC5} else ""
