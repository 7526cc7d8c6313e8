"""Known exceptions of the hygiene check: each with its reason, none that nothing needs."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from leviathan_image import jsonfile
from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding
from leviathan_image.hygiene.rules import Rule

Exceptions = Mapping[Rule, Mapping[str, str]]


def read_exceptions(path: Path | None) -> Exceptions:
    """The table in `path`: `{rule: {glob: why}}`; a glob is matched with a finding's place (a path in the image, or a
    library's name for `duplicate`). No file is an empty table. Raises ImageError on an unknown rule or no reason.
    """
    if path is None:
        return {}
    document = jsonfile.read_object(path)
    jsonfile.reject_unknown(str(path), document.keys(), [rule.value for rule in Rule])
    tables = {Rule(name): jsonfile.table(f"{path}: {name}", value) for name, value in document.items()}
    for rule, reasons in tables.items():
        for glob, why in reasons.items():
            if not why.strip():
                raise ImageError(f"{path}: {rule}: {glob} has no reason", "say why the image needs it")
    return tables


def apply(findings: Iterable[Finding], exceptions: Exceptions, source: str) -> list[Finding]:
    """The findings that no exception covers, and one for each exception that covers none. `source` names the table."""
    left: list[Finding] = []
    used: set[tuple[str, str]] = set()
    for finding in findings:
        reasons = exceptions.get(Rule(finding.check), {})
        globs = [glob for glob in reasons if fnmatchcase(finding.where, glob)]
        used.update((finding.check, glob) for glob in globs)
        if not globs:
            left.append(finding)
    for rule, reasons in exceptions.items():
        for glob in reasons:
            if (rule, glob) not in used:
                left.append(Finding(rule, glob, "a stale exception: no finding matches it", f"remove it from {source}"))
    return left
