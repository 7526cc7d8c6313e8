"""Rewrites what differs from one recording to the next, so that a new recording shows only what the server changed.

Each uid, resource version, continue token, random name suffix and cluster IP becomes one that counts from the start
of the document; times become times since the start of the recording, in steps. What is left to chance: two times a
second apart may be equal in the next recording.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

START = datetime(2026, 1, 1, tzinfo=UTC)
#: The creation of what was there before the recording began, such as the node.
EARLIER = "2025-12-31T00:00:00Z"
#: Seconds; times of one step keep their order, not their distance.
STEP = 10
#: A time further from the start of the recording was written by hand, and stays.
WINDOW = timedelta(hours=12)
UID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
CLUSTER_IP = re.compile(r"\b10\.96\.\d+\.\d+\b")
FIXED_IPS = ("10.96.0.1", "10.96.0.10")
#: The suffix of a name that the server made, in the server's alphabet (k8s.io/apimachinery/pkg/util/rand).
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
#: The last part of the name of a ReplicaSet's pod.
POD = re.compile(rf"(?:(?<=-[0-9a-f]{{8}}-)|(?<=-[0-9a-f]{{9}}-)|(?<=-[0-9a-f]{{10}}-))[{SUFFIX_ALPHABET}]{{5}}\b")
#: The version that the server has now, behind the one that was asked for.
TOO_OLD = re.compile(r"(too old resource version: \d+ )\(\d+\)")
#: An event's name: that of its object and its time in hexadecimal.
EVENT = re.compile(r"\.[0-9a-f]{16}\b")


def normalised(document: Any, start: datetime | None = None) -> Any:
    """`document`, JSON, in normal form; `start` of its recording. Without one its times stay."""
    for change in (_without_fields, _fixed_times):
        document = _mapped(document, change)
    values = list(_values(document))
    text = json.dumps(document, ensure_ascii=False)
    text = _numbered(text, EVENT, lambda number: f".{number:016x}")
    text = _numbered(text, UID, lambda number: f"00000000-0000-4000-8000-{number:012d}")
    text = _numbered(text, CLUSTER_IP, lambda number: f"10.96.1.{number}", kept=FIXED_IPS)
    for prefix in sorted({value for key, value in values if key == "generateName" and value}):
        text = _numbered(text, re.compile(rf"\b{re.escape(prefix)}[{SUFFIX_ALPHABET}]{{5}}\b"), partial(_name, prefix))
    text = _numbered(text, POD, partial(_name, ""))
    text = TOO_OLD.sub(r"\1(9999)", text)
    document = json.loads(text)
    if start is not None:
        document = json.loads(_replace_times(json.dumps(_created_earlier(document, start), ensure_ascii=False), start))
    versions = {version: str(1000 + place) for place, version in enumerate(_versions(values))}
    tokens: dict[str, str] = {}

    def rename(key: str, value: Any) -> Any:
        if key == "resourceVersion" and isinstance(value, str):
            return versions.get(value, value)
        if key == "continue" and value:
            return tokens.setdefault(value, f"continue-{len(tokens) + 1}")
        return value

    return _renamed(document, rename)


def _versions(values: list[tuple[str, Any]]) -> list[str]:
    """The resource versions in their order; a client writes 0, for any, and 1, for one that is too old."""
    numbers = {int(value) for key, value in values if key == "resourceVersion" and str(value).isdigit()}
    return [str(number) for number in sorted(numbers - {0, 1})]


def _values(value: Any, key: str = "") -> Any:
    """Every key with its value, depth first."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, key)
    else:
        yield key, value


def _renamed(value: Any, rename: Callable[[str, Any], Any], key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _renamed(inner, rename, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, rename, key) for inner in value]
    return rename(key, value)


def _mapped(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """`value` with each of its objects changed, the outer ones first."""
    if isinstance(value, dict):
        return {key: _mapped(inner, change) for key, inner in change(value).items()}
    return [_mapped(inner, change) for inner in value] if isinstance(value, list) else value


#: The kinds whose field owners the tool reads (leviathan.cluster.managed_fields, leviathan.preflight.namespace).
OWNED = (
    *("Deployment", "DeploymentList", "Service", "ServiceList", "Namespace", "ConfigMap", "ConfigMapList"),
    *("PersistentVolume", "PersistentVolumeList", "PersistentVolumeClaim", "PersistentVolumeClaimList"),
)


def _without_fields(found: dict[str, Any]) -> dict[str, Any]:
    """Without the managed fields of what the tool does not apply."""
    if found.get("kind") in OWNED or "metadata" not in found or "kind" not in found:
        return found
    metadata = {key: value for key, value in (found["metadata"] or {}).items() if key != "managedFields"}
    return found | {"metadata": metadata}


def _fixed_times(found: dict[str, Any]) -> dict[str, Any]:
    """A node's condition with constant times: it began before the recording."""
    if "lastHeartbeatTime" not in found:
        return found
    return found | {"lastHeartbeatTime": EARLIER, "lastTransitionTime": EARLIER}


def _name(prefix: str, number: int) -> str:
    return prefix + _suffix(number - 1)


def _suffix(number: int) -> str:
    letters = ""
    for _ in range(5):
        number, digit = divmod(number, len(SUFFIX_ALPHABET))
        letters = SUFFIX_ALPHABET[digit] + letters
    return letters


def _numbered(text: str, pattern: re.Pattern[str], form: Callable[[int], str], kept: tuple[str, ...] = ()) -> str:
    """Each different match of `pattern` by its number, from 1 in the order of the text."""
    numbers: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        value = match.group()
        return value if value in kept else numbers.setdefault(value, form(len(numbers) + 1))

    return pattern.sub(replace, text)


def _created_earlier(document: Any, start: datetime) -> Any:
    """With one time for the creation of all that was there before the recording."""

    def rename(key: str, value: Any) -> Any:
        if key != "creationTimestamp" or not value:
            return value
        return EARLIER if datetime.fromisoformat(value) < start - timedelta(seconds=5) else value

    return _renamed(document, rename)


def _replace_times(text: str, start: datetime) -> str:
    """Times in steps since `start`; within a step they are one second apart, in their order."""
    moments = {match.group(): datetime.fromisoformat(match.group()) for match in TIME.finditer(text)}
    moments = {written: moment for written, moment in moments.items() if abs(moment - start) < WINDOW}
    steps: dict[int, list[datetime]] = {}
    for moment in sorted({moment.replace(microsecond=0) for moment in moments.values()}):
        steps.setdefault(round((moment - start).total_seconds() / STEP), []).append(moment)
    new = {
        moment: START + timedelta(seconds=STEP * step + min(place, STEP - 1))
        for step, found in steps.items()
        for place, moment in enumerate(found)
    }

    def replace(match: re.Match[str]) -> str:
        moment = moments.get(match.group())
        if moment is None:
            return match.group()
        parts = ".000000Z" if "." in match.group() else "Z"
        return new[moment.replace(microsecond=0)].strftime("%Y-%m-%dT%H:%M:%S") + parts

    return TIME.sub(replace, text)
