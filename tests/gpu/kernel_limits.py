"""What the kernels are held to, and whether a run's rows keep it; for kernels.py, which makes them, and
side_by_side.py.

Each row also has its controls: the same figure for an answer that is wrong on purpose. One that stays below the limit
means that the measurement would not see a fault.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Marlin accumulates in float32 and rounds to bfloat16: 2.3e-3 to 4.9e-3 on an H100. `worst` is one element's deviation
# as a share of the largest: it sees one lost scale, which among thousands of columns the norm does not.
MARLIN = {"error": 6e-3, "worst": 2e-2}
# A product of a scale, a sub-scale and an element fits into float32's 24 bits, so one subtraction is all that rounds.
DEQUANTISATION = {"error": 1e-6}


def limits(row: Mapping[str, Any]) -> Mapping[str, float]:
    """Figure → the most it may be."""
    return DEQUANTISATION if row["what"].startswith("dequantize_") else MARLIN


def name(row: Mapping[str, Any]) -> str:
    """A row in words."""
    return " ".join(
        [row["what"], *(["act-order"] if row.get("act_order") else []), *([f"m={row['m']}"] if "m" in row else [])]
    )


def violations(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each figure over its limit, and for each control that is not over it. NaN is over every limit."""
    said = []
    for row in rows:
        for figure, most in limits(row).items():
            if not row[figure] <= most:
                said.append(f"{name(row)}: {figure} {row[figure]:.2e} is over its limit of {most:g}")
            control = row["control"][figure]
            if not control > most:
                said.append(f"{name(row)}: a wrong scale gives {figure} {control:.2e}, not over {most:g}: unseen")
    return said


def untested(exported: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each exported function without a row; `exported` are the library's names."""
    seen = {row["what"] for row in rows if row["what"].startswith("dequantize_")}
    seen |= {"gptq_marlin_gemm"} if any("m" in row for row in rows) else set()
    return [f"{each} is exported and was not run" for each in sorted({*exported} - seen) if not each.startswith("_")]
