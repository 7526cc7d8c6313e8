"""What of gptq_marlin.cu DeepSeek-V3's layers use: the kernels for 4 bits and groups of 64.

The whole file takes nvcc more than a quarter of an hour; for nvcc_build.py, and for the bench of both compilers.
"""

import re

# Instantiations to drop: with act-order or other groups than 4 tiles of 16, the last of its list, those of 8 bits.
OTHER = (
    (r"\n    __CALL_IF\(NUM_BITS, \d, N_BLOCKS, K_BLOCKS, (true, 0|false, (-1|2|8)), NUM_THREADS\) *\\", ""),
    (r"\n    __CALL_IF\(NUM_BITS, 4, N_BLOCKS, K_BLOCKS, false, 8, NUM_THREADS\)", "\n"),
    (r"\n +CALL_IF\(8, \d+, \d+, \d+\)", ""),
)


def needed(text: str) -> str:
    """The source without the other instantiations. Errors: ValueError where it has none of a kind."""
    for pattern, instead in OTHER:
        text, count = re.subn(pattern, instead, text)
        if not count:
            raise ValueError(f"gptq_marlin.cu has no {pattern!r}: look at its CALL_IF lists again")
    return text
