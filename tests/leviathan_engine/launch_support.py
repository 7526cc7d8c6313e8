"""The launcher as a process."""

import os
import socket
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SMI = "1, GPU-bbbb-2, 32607, NVIDIA GeForce RTX 5090\n0, GPU-aaaa-1, 97887, NVIDIA RTX PRO 6000, Blackwell\n"
PATIENCE = 90.0


def start(work: Path, *flags: str, **environ: str) -> subprocess.Popen[str]:
    env = environ | {
        "PATH": f"{work / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{work}{os.pathsep}{TOOLS}",
        "LEVIATHAN_STATE": str(work / "s"),
        "LEVIATHAN_TERMINATION_LOG": str(work / "log"),
        "LEVIATHAN_MOUNT_POINT": str(work / "elsewhere"),
    }
    argv = [sys.executable, "-m", "leviathan_engine", "--host", "127.0.0.1", *flags]
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
