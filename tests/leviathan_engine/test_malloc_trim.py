"""Free memory between blocks in use goes back to the kernel; without the trim it stays."""

import subprocess
import sys

HOLES = """
import ctypes, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from leviathan_engine.worker.malloc_trim import Heap

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("RssAnon:"))

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
size = 100_000  # below glibc's threshold for a mapping of its own
blocks = []
for _ in range(2000):
    blocks.append(libc.malloc(ctypes.c_size_t(size)))
    ctypes.memset(blocks[-1], 1, size)
full = resident()
for block in blocks[:-1]:  # the last one keeps the heap's end where it is
    libc.free(ctypes.c_void_p(block))
holes = resident()
heap = Heap()
heap.rest()
trimmed = resident()
print(full, holes, trimmed)
"""


def test_holes_are_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", HOLES, "tools"], capture_output=True, text=True, check=True).stdout
    full, holes, trimmed = map(int, said.split())
    assert holes > full - 20, "the C library returns it without a trim, which is no longer needed"
    assert trimmed < full - 150
