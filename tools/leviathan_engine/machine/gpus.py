"""Lists the NVIDIA GPUs of this container, in the order of CUDA_VISIBLE_DEVICES or else in PCI bus order."""

import shutil
import subprocess
from dataclasses import dataclass

from leviathan_engine.errors import EngineError

QUERY = ("--query-gpu=index,uuid,memory.total,name", "--format=csv,noheader,nounits")
SECONDS = 60


@dataclass(frozen=True)
class Gpu:
    """One GPU: its index in PCI bus order, its memory in bytes, its name."""

    index: int
    memory: int
    name: str = ""


def gpus(visible: str | None, program: str = "nvidia-smi") -> tuple[Gpu, ...]:
    """Returns the GPUs; `visible` is CUDA_VISIBLE_DEVICES, None for all. Without nvidia-smi there are none.

    Errors: EngineError if nvidia-smi fails, or if `visible` names a GPU that does not exist.
    """
    path = shutil.which(program)
    if path is None:
        return ()
    try:
        done = subprocess.run(
            [path, *QUERY], capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise EngineError(
            f"cannot list the GPUs: nvidia-smi: {err}", "check the driver with dmesg and nvidia-smi on the node"
        ) from err
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        reason = said[0] if said else f"exit code {done.returncode}"
        raise EngineError(
            f"cannot list the GPUs: nvidia-smi failed: {reason}",
            "check the driver with dmesg and nvidia-smi on the node",
        )
    return select(parse(done.stdout), visible)


def parse(text: str) -> list[tuple[Gpu, str]]:
    """Parses nvidia-smi's lines `0, GPU-..., 97887, NVIDIA RTX PRO 6000` (memory in MiB) into GPUs and their UUIDs.

    Errors: EngineError for other lines.
    """
    out = []
    for line in text.splitlines():
        index, uuid, memory, name = (piece.strip() for piece in [*line.split(",", 3), "", "", ""][:4])
        if not (index.isdecimal() and memory.isdecimal()):
            raise EngineError(
                f"nvidia-smi: expected a line with the GPU's index, UUID, memory and name, got {line[:80]!r}",
                "check the GPU with nvidia-smi on the node",
            )
        out.append((Gpu(int(index), int(memory) << 20, name), uuid))
    return out


def select(cards: list[tuple[Gpu, str]], visible: str | None) -> tuple[Gpu, ...]:
    """Returns the GPUs of CUDA_VISIBLE_DEVICES, whose entries are indices or prefixes of UUIDs."""
    if visible is None:
        return tuple(gpu for gpu, _ in cards)
    out = []
    for entry in filter(None, (piece.strip() for piece in visible.split(","))):
        match = [gpu for gpu, uuid in cards if entry == str(gpu.index) or (len(entry) > 4 and uuid.startswith(entry))]
        if len(match) != 1:
            raise EngineError(
                f"CUDA_VISIBLE_DEVICES={visible}: {entry!r} is not one of this container's {len(cards)} GPUs",
                "correct or unset CUDA_VISIBLE_DEVICES",
            )
        out.append(match[0])
    return tuple(out)
