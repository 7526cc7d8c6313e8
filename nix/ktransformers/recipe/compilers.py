"""The host compilers that a stage calls."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Compilers:
    """A C and a C++ compiler of one family, by name or path."""

    cc: str = "clang-19"
    cxx: str = "clang++-19"
