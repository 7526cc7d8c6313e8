"""How busy a slow disk is while a model loads, and how soon the model answers after its last byte; as root.

    slow_start.py MODEL.gguf MB_A_SECOND WORK -- COMMAND…

COMMAND runs its arguments in the image's root, where WORK and this repository have the same paths. The model lies on a
loop device that gives MB_A_SECOND (tests/throttled_disk.py), none of it in memory. Prints JSON: `busy`, the bytes
that came as a share of what the disk could have given until the last of them, counted from the launcher's start;
`after`, seconds from then until the model answers. Limits of issue 16: 0.9 and 15.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def inside(folder: Path) -> dict[str, float]:
    """In the image's root: starts the launcher on the folder's model; when it began and when it answered, monotonic."""
    launcher: Any = import_module("launcher_process")
    with tempfile.TemporaryDirectory() as work:
        began = time.monotonic()
        running = launcher.Running(Path(work), flags={"--model_path": folder})
        try:
            running.wait()
            ready = time.monotonic()
        finally:
            running.end()
    return {"began": began, "ready": ready}


def main(model: Path, rate: float, work: Path, command: list[str]) -> int:
    """Makes the disk, and has COMMAND run this file's other half below its limit."""
    sys.path.insert(0, str(HERE.parent))
    disk: Any = import_module("throttled_disk")
    with tempfile.TemporaryDirectory(dir=work) as folder:
        with disk.throttled(Path(folder), {"model.gguf": model}, int(rate * 1e6)) as slow:
            script = [str(Path(__file__).resolve()), "--inside", str(slow.folder)]
            joined = 'echo $$ > "$0" && exec "$@"'
            argv = ["bash", "-c", joined, str(slow.processes), *command, "python3", *script]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
                came, last = 0, 0.0
                while running.poll() is None:
                    if (now := slow.bytes_read()) > came:
                        came, last = now, time.monotonic()
                    time.sleep(0.1)
                said = running.stdout.read() if running.stdout else ""
    if running.returncode:
        return running.returncode
    times = json.loads(said.splitlines()[-1])
    seconds = last - times["began"]
    found = {"bytes": came, "seconds": seconds, "busy": came / seconds / rate / 1e6, "after": times["ready"] - last}
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["busy"] >= 0.9 and found["after"] <= 15 else 1


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        seen = inside(Path(sys.argv[2]))
        sys.stdout.write(f"\n{json.dumps(seen)}\n")
        sys.stdout.flush()
        os._exit(0)
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[5:]))
