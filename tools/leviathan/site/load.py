"""Builds the site from its layers: defaults, site file, environment, flags. Each layer overrides the earlier ones."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from leviathan.errors import UsageError
from leviathan.site.choices import Storage, Variant
from leviathan.site.conflicts import conflicts
from leviathan.site.keys import Spec, from_text, from_toml, nearest, specs
from leviathan.site.schema import Site

DEFAULTS = Path(__file__).with_name("site.toml")
PREFIX = "LEVIATHAN_"
#: Variables that have the prefix but are not keys of the site.
OTHER_VARIABLES = frozenset(
    {
        "LEVIATHAN_SITE",
        "LEVIATHAN_MANIFESTS",
        "LEVIATHAN_ACCESS_LOG",
        "LEVIATHAN_API_KEY",
        "LEVIATHAN_REGISTRY_BIN",
        "LEVIATHAN_WITHOUT_REGISTRY",
    }
)
SPECS = specs(Site)
#: Old name → new name of renamed keys. Both work.
RENAMED = {f"nvme.{name}": f"storage.{name}" for name in ("partition", "filesystem", "size_gb", "mount_point")}
RENAMED_VARIABLES = {f"{PREFIX}{old}".upper().replace(".", "_"): new for old, new in RENAMED.items()}


@dataclass(frozen=True)
class Loaded:
    """A loaded site. `origins`: `section.key` → where its value comes from; `notes`: one per renamed key in use."""

    site: Site
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def values(self) -> dict[str, dict[str, Any]]:
        """The site as plain JSON data: {section: {key: value}}."""
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

    Arguments: `path`, the user's site file, if any; `environ`, read for LEVIATHAN_SECTION_KEY variables; `settings`,
    each `section.key=value`; `named`, `section.key` → string from dedicated flags, which override `settings`.
    Errors: UsageError that names each wrong key with its origin, the allowed values and the nearest match.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    notes: list[str] = []
    for file, origin in ((DEFAULTS, "default"), (path, str(path))):
        if file is not None:
            _layer_file(file, origin, values, origins, problems, notes)
    texts = [*_from_environment(environ or {}, problems, notes), *_from_settings(settings, problems, notes)]
    texts += [(_spec(RENAMED.get(key, key)), text, "command line") for key, text in (named or {}).items()]
    for spec, text, origin in texts:
        try:
            values[spec.path] = from_text(spec, text)
            origins[spec.path] = origin
        except ValueError as error:
            problems.append(f"{spec.path} ({origin}): {error}")
    if not problems:
        _derive(values, origins)
        site = _build(values)
        problems = [f"{text} ({origins[text.split(':')[0]]})" for text in conflicts(site)]
    if problems:
        raise UsageError(
            "invalid site" if len(problems) == 1 else f"invalid site, {len(problems)} problems",
            why=" | ".join(problems),
            remedy="correct the value; `leviathan site --default` explains every key",
        )
    return Loaded(site, origins, tuple(notes))


def _derive(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Set defaults that depend on other keys: only storage.kind = partition uses the privileged variant."""
    if origins["workload.variant"] == "default" and values["storage.kind"] is not Storage.PARTITION:
        values["workload.variant"], origins["workload.variant"] = Variant.UNPRIVILEGED, "storage.kind"


def _layer_file(
    path: Path, origin: str, values: dict[str, Any], origins: dict[str, str], problems: list[str], notes: list[str]
) -> None:
    known = {spec.path: spec for spec in SPECS}
    sections = list(dict.fromkeys(spec.section for spec in SPECS))
    for section, table in _tables(path).items():
        old = [key for key in RENAMED if key.startswith(f"{section}.")]
        if section not in sections and not old:
            problems.append(f"{section} ({origin}): {_unknown('section', section, sections)}")
            continue
        if not isinstance(table, dict):
            problems.append(f"{section} ({origin}): expected a section; write [{section}] and its keys below it")
            continue
        for name, value in table.items():
            key = _today(f"{section}.{name}", origin, notes)
            if key not in known:
                allowed = [spec.name for spec in SPECS if spec.section == section] or [old.split(".")[1] for old in old]
                problems.append(f"{key} ({origin}): {_unknown('key', name, allowed, section)}")
                continue
            if origins.get(key) == origin:  # a file that has both the old and the new name
                problems.append(f"{key} ({origin}): is also set under its old name; remove one of the two")
                continue
            try:
                values[key] = from_toml(known[key], value)
                origins[key] = origin
            except ValueError as error:
                problems.append(f"{section}.{name} ({origin}): {error}")


def _tables(path: Path) -> dict[str, Any]:
    """The file's sections. Errors: UsageError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            "cannot read the site file",
            where=str(path),
            why=error.strerror or str(error),
            remedy="name the right file with --site FILE",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            "the site file is not valid TOML", where=str(path), why=str(error), remedy=f"edit {path}"
        ) from None


def _today(key: str, origin: str, notes: list[str]) -> str:
    """The current name of a key. Adds a note if `key` is an old name."""
    now = RENAMED.get(key, key)
    if now != key:
        notes.append(f"{key} ({origin}) is now called {now}; the old name still works")
    return now


def _from_environment(environ: Mapping[str, str], problems: list[str], notes: list[str]) -> list[tuple[Spec, str, str]]:
    known = {spec.variable: spec for spec in SPECS}
    sections = {spec.section.upper() for spec in SPECS}
    found = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        if name in RENAMED_VARIABLES:
            spec = _spec(RENAMED_VARIABLES[name])
            notes.append(f"${name} is now called ${spec.variable}; the old name still works")
            found.append((spec, environ[name], f"${name}"))
            continue
        if name in known:
            found.append((known[name], environ[name], f"${name}"))
            continue
        # The variable may belong to another tool; report it only if it looks like a misspelled key.
        section, separator, _ = name.removeprefix(PREFIX).partition("_")
        ours = separator and section in sections
        near = nearest(name, known, 0.6 if ours else 0.9)
        if ours or near:
            problems.append(f"${name}: no such variable{f', nearest: {near}' if near else ''}")
    return found


def _from_settings(settings: Sequence[str], problems: list[str], notes: list[str]) -> list[tuple[Spec, str, str]]:
    found = []
    known = {spec.path: spec for spec in SPECS}
    for setting in settings:
        match = re.fullmatch(r"([^=]+)=(.*)", setting, re.DOTALL)
        if match is None:
            problems.append(f"--set {setting}: expected section.key=value")
            continue
        key = _today(match[1], "--set", notes)
        if key in known:
            found.append((known[key], match[2], "--set"))
            continue
        section = key.split(".")[0]
        allowed = [path for path in known if path.startswith(f"{section}.")]
        if allowed:
            problems.append(f"{key} (--set): {_unknown('key', key, allowed, section)}")
        else:
            problems.append(f"{key} (--set): {_without_section(key)}")
    return found


def _spec(path: str) -> Spec:
    return next(spec for spec in SPECS if spec.path == path)


def _unknown(what: str, name: str, allowed: list[str], section: str = "") -> str:
    """The message for an unknown name: the nearest known name, also of another section, and all allowed names."""
    leaf = name.rsplit(".", 1)[-1]
    elsewhere = [spec.path for spec in SPECS if spec.section != section and spec.name == leaf]
    near = elsewhere[0] if what == "key" and elsewhere else nearest(name, allowed)
    return f"no such {what}{f', nearest: {near}' if near else ''}, allowed: {', '.join(allowed)}"


def _without_section(key: str) -> str:
    """The message for a key of an unknown section, or of none: the nearest key, and the sections."""
    leaf = key.rsplit(".", 1)[-1]
    near = next((spec.path for spec in SPECS if spec.name == leaf), "") or nearest(key, [spec.path for spec in SPECS])
    sections = ", ".join(dict.fromkeys(spec.section for spec in SPECS))
    return f"no such key{f', nearest: {near}' if near else ''}, expected SECTION.KEY with a section of: {sections}"


def _build(values: Mapping[str, Any]) -> Site:
    def part(section: str) -> dict[str, Any]:
        return {spec.name: values[spec.path] for spec in SPECS if spec.section == section}

    return Site(**{section: type_(**part(section)) for section, type_ in get_type_hints(Site).items()})
