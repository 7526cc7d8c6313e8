"""The installed CPU extension starts and ends its threads hundreds of times on a busy machine, within a time limit."""

import subprocess
import sys
from pathlib import Path

import engine_process
import pytest

# An extension built without the patch hung here in three of three runs. The spinning threads release the GIL in zlib.
CODE = """
import threading, time, zlib
import cpuinfer_ext
def spin():
    while True:
        zlib.crc32(bytes(1 << 20))
for _ in range(6):
    threading.Thread(target=spin, daemon=True).start()
end, rounds = time.monotonic() + 12, 0
while time.monotonic() < end and rounds < 1500:
    queue = cpuinfer_ext.CPUInfer(2)
    queue.sync()
    del queue
    rounds += 1
print(rounds)
"""


@pytest.mark.parametrize("march", engine_process.runnable_marches()[:1])
def test_no_hang_at_start(home: Path, march: str) -> None:
    env = engine_process.environment(home) | {"LEVIATHAN_MARCH": march}
    argv = [sys.executable, "-c", CODE]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20
