"""Reads environment variables of which only some values are allowed."""

from collections.abc import Mapping

from leviathan_engine.errors import UsageError


def one_of(environ: Mapping[str, str], name: str, values: tuple[str, ...]) -> str:
    """Returns the variable's value, the first of `values` if it is not set or empty. Errors: UsageError."""
    text = environ.get(name, "") or values[0]
    if text not in values:
        allowed = " or ".join(sorted(values))
        raise UsageError(f"{name}: expected {allowed}, got {text[:40]!r}", f"correct or unset {name}")
    return text
