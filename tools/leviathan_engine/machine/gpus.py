"""The NVIDIA GPUs that this container may use: in the order of CUDA_VISIBLE_DEVICES, else in PCI bus order."""

import shutil
import subprocess
from dataclasses import dataclass

from leviathan_engine.errors import EngineError

QUERY = ("--query-gpu=index,uuid,memory.total,name", "--format=csv,noheader,nounits")
SECONDS = 60


@dataclass(frozen=True)
class Gpu:
    """One card: its number in PCI bus order, its memory in bytes, its name."""

    index: int
    memory: int
    name: str = ""


def gpus(visible: str | None, program: str = "nvidia-smi") -> tuple[Gpu, ...]:
    """The cards; `visible` is CUDA_VISIBLE_DEVICES, None for all. Without the driver's program there are none.

    Errors: EngineError when nvidia-smi fails, or `visible` names a card that is not there.
    """
    path = shutil.which(program)
    if path is None:
        return ()
    try:
        done = subprocess.run(
            [path, *QUERY], capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise EngineError(f"nvidia-smi does not answer: {err}", "look at the driver: dmesg, nvidia-smi") from err
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise EngineError(f"nvidia-smi fails: {said[0] if said else done.returncode}", "look at the driver on the node")
    return select(parse(done.stdout), visible)


def parse(text: str) -> list[tuple[Gpu, str]]:
    """Cards and their UUIDs from nvidia-smi's lines `0, GPU-..., 97887, NVIDIA RTX PRO 6000` (memory in MiB).

    Errors: EngineError for other lines.
    """
    out = []
    for line in text.splitlines():
        index, uuid, memory, name = (piece.strip() for piece in [*line.split(",", 3), "", "", ""][:4])
        if not (index.isdecimal() and memory.isdecimal()):
            raise EngineError(f"nvidia-smi says {line[:80]!r}", "this card's memory cannot be read")
        out.append((Gpu(int(index), int(memory) << 20, name), uuid))
    return out


def select(cards: list[tuple[Gpu, str]], visible: str | None) -> tuple[Gpu, ...]:
    """The cards of CUDA_VISIBLE_DEVICES, whose entries are numbers or the beginnings of UUIDs."""
    if visible is None:
        return tuple(gpu for gpu, _ in cards)
    out = []
    for entry in filter(None, (piece.strip() for piece in visible.split(","))):
        match = [gpu for gpu, uuid in cards if entry == str(gpu.index) or (len(entry) > 4 and uuid.startswith(entry))]
        if len(match) != 1:
            raise EngineError(
                f"CUDA_VISIBLE_DEVICES={visible}: no GPU {entry} among {len(cards)}", "correct or unset it"
            )
        out.append(match[0])
    return tuple(out)
