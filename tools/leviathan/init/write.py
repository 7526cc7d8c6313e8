"""The site file as text: sections in the schema's order, each line with where its value comes from."""

from collections.abc import Sequence

from leviathan.errors import UsageError
from leviathan.init.propose import Line
from leviathan.site.keys import from_text, toml
from leviathan.site.load import SPECS

HEAD = """#:schema ./site.schema.json
# Written by `leviathan init`; `leviathan site --default` has every key with its meaning.
# Next: leviathan preflight --site FILE, then leviathan deploy --site FILE
"""


def site_text(lines: Sequence[Line]) -> str:
    """The file. Errors: UsageError when a value is not what its key may be."""
    values = {line.key: line for line in lines}
    problems, parts, section = [], [HEAD], ""
    for spec in SPECS:
        line = values.get(spec.path)
        if line is None:
            continue
        try:
            typed = from_text(spec, line.value)
        except ValueError as error:
            problems.append(f"{spec.path}: {error}")
            continue
        if spec.section != section:
            section = spec.section
            parts.append(f"\n[{section}]\n")
        plain = getattr(typed, "value", list(typed) if isinstance(typed, tuple) else typed)
        why = " ".join(line.why.split())
        parts.append(f"{f'{spec.name} = {toml(plain)}':<44} # {why}\n")
    if problems:
        raise UsageError("a value does not fit its key", why=" | ".join(problems), remedy="correct it with --set")
    return "".join(parts)
