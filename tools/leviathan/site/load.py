"""Builds the site from its layers: defaults, the site file, the environment, flags. Later layers win."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from leviathan.errors import UsageError
from leviathan.site.keys import Spec, from_text, from_toml, nearest, specs
from leviathan.site.schema import Site

DEFAULTS = Path(__file__).with_name("site.toml")
PREFIX = "LEVIATHAN_"
#: Variables with the prefix that are no keys of the site.
OTHER_VARIABLES = frozenset(
    {
        "LEVIATHAN_SITE",
        "LEVIATHAN_MANIFESTS",
        "LEVIATHAN_API_KEY",
        "LEVIATHAN_REGISTRY_BIN",
        "LEVIATHAN_WITHOUT_REGISTRY",
    }
)
SPECS = specs(Site)


@dataclass(frozen=True)
class Loaded:
    """The site, and for each `section.key` where its value comes from."""

    site: Site
    origins: Mapping[str, str]

    def values(self) -> dict[str, dict[str, Any]]:
        """The site as plain data, as JSON and TOML have it: {section: {key: value}}."""
        plain: dict[str, dict[str, Any]] = {}
        for spec in SPECS:
            value = getattr(getattr(self.site, spec.section), spec.name)
            plain.setdefault(spec.section, {})[spec.name] = (
                value.value if isinstance(value, Enum) else list(value) if isinstance(value, tuple) else value
            )
        return plain


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
    named: Mapping[str, str] | None = None,
) -> Loaded:
    """Build the site.

    Arguments: `path` of the user's site file, or none; `environ`, of which the LEVIATHAN_SECTION_KEY variables count;
    `settings`, each `section.key=value`; `named`, `section.key` → text from flags of their own, which win over these.
    Errors: UsageError that names every wrong key with its origin, the allowed values and the nearest match.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for file, origin in ((DEFAULTS, "default"), (path, str(path))):
        if file is not None:
            _layer_file(file, origin, values, origins, problems)
    texts = [*_from_environment(environ or {}, problems), *_from_settings(settings, problems)]
    texts += [(_spec(key), text, "flag") for key, text in (named or {}).items()]
    for spec, text, origin in texts:
        try:
            values[spec.path] = from_text(spec, text)
            origins[spec.path] = origin
        except ValueError as error:
            problems.append(f"{spec.path} ({origin}): {error}")
    if not problems:
        site = _build(values)
        problems = [f"{text} ({origins[text.split(':')[0]]})" for text in site.conflicts()]
    if problems:
        raise UsageError(
            "wrong site" if len(problems) == 1 else f"wrong site, {len(problems)} problems",
            why=" | ".join(problems),
            remedy="correct it where it stands; `leviathan site --default` shows every key with its meaning",
        )
    return Loaded(site, origins)


def _layer_file(path: Path, origin: str, values: dict[str, Any], origins: dict[str, str], problems: list[str]) -> None:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            "cannot read the site file",
            where=str(path),
            why=error.strerror or str(error),
            remedy="name it with --site FILE",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("the site file is no TOML", where=str(path), why=str(error), remedy=f"edit {path}") from None
    sections = list(dict.fromkeys(spec.section for spec in SPECS))
    for section, table in tables.items():
        if section not in sections:
            problems.append(f"{section} ({origin}): {_unknown('section', section, sections)}")
        elif not isinstance(table, dict):
            problems.append(f"{section} ({origin}): is a section: write [{section}] and its keys below")
        else:
            known = {spec.name: spec for spec in SPECS if spec.section == section}
            for name, value in table.items():
                if name not in known:
                    problems.append(f"{section}.{name} ({origin}): {_unknown('key', name, list(known))}")
                    continue
                try:
                    values[f"{section}.{name}"] = from_toml(known[name], value)
                    origins[f"{section}.{name}"] = origin
                except ValueError as error:
                    problems.append(f"{section}.{name} ({origin}): {error}")


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> list[tuple[Spec, str, str]]:
    known = {spec.variable: spec for spec in SPECS}
    sections = {spec.section.upper() for spec in SPECS}
    found = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        if name in known:
            found.append((known[name], environ[name], f"${name}"))
            continue
        # A name of another tool is none of our business; one that looks like a slip of ours is an error.
        section, separator, _ = name.removeprefix(PREFIX).partition("_")
        ours = separator and section in sections
        near = nearest(name, known, 0.6 if ours else 0.9)
        if ours or near:
            problems.append(f"${name}: no such variable{f', nearest: {near}' if near else ''}")
    return found


def _from_settings(settings: Sequence[str], problems: list[str]) -> list[tuple[Spec, str, str]]:
    found = []
    known = {spec.path: spec for spec in SPECS}
    for setting in settings:
        match = re.fullmatch(r"([^=]+)=(.*)", setting, re.DOTALL)
        if match is None:
            problems.append(f"--set {setting}: wants section.key=value")
        elif match[1] not in known:
            section = match[1].split(".")[0]
            allowed = [path for path in known if path.startswith(f"{section}.")]
            problems.append(f"{match[1]} (--set): {_unknown('key', match[1], allowed or list(known))}")
        else:
            found.append((known[match[1]], match[2], "--set"))
    return found


def _spec(path: str) -> Spec:
    return next(spec for spec in SPECS if spec.path == path)


def _unknown(what: str, name: str, allowed: list[str]) -> str:
    near = nearest(name, allowed)
    return f"no such {what}{f', nearest: {near}' if near else ''}, allowed: {', '.join(allowed)}"


def _build(values: Mapping[str, Any]) -> Site:
    def part(section: str) -> dict[str, Any]:
        return {spec.name: values[spec.path] for spec in SPECS if spec.section == section}

    return Site(**{section: type_(**part(section)) for section, type_ in get_type_hints(Site).items()})
