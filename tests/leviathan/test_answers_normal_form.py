"""The recordings are in normal form, and what a recording's time, names and numbers become."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from normal_form import normalised

ANSWERS = Path(__file__).with_name("answers")
START = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize("path", sorted(ANSWERS.glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_recording_is_in_normal_form(path: Path) -> None:
    """`scripts/record KIND NAME` wrote it; nobody edited it since."""
    document = json.loads(path.read_text(encoding="utf-8"))
    assert normalised(document) == document


def pod(name: str, uid: str, version: str, created: str) -> dict[str, Any]:
    metadata = {"name": f"engine-{name}", "generateName": "engine-", "uid": uid, "resourceVersion": version}
    return {"kind": "Pod", "metadata": metadata | {"creationTimestamp": created, "managedFields": [{"manager": "x"}]}}


def test_two_recordings_of_one_story_are_equal() -> None:
    """Other uids, versions, names and moments; the same order, the same references."""
    one = [
        pod("x7k2p", "2b17eb7d-7cec-4c91-8265-d32440961b61", "700", "2026-11-29T10:00:02Z"),
        pod("qqqqq", "ab17eb7d-7cec-4c91-8265-d32440961b61", "650", "2026-11-29T09:30:00Z"),
        {"message": "engine-x7k2p of 2b17eb7d-7cec-4c91-8265-d32440961b61 at 10.96.3.7, back at 2026-11-29T10:01:00Z"},
    ]
    two = [
        pod("bcdfg", "11111111-7cec-4c91-8265-d32440961b61", "99", "2026-11-29T10:00:04Z"),
        pod("zzzzz", "22222222-7cec-4c91-8265-d32440961b61", "98", "2026-11-29T08:00:00Z"),
        {"message": "engine-bcdfg of 11111111-7cec-4c91-8265-d32440961b61 at 10.96.9.9, back at 2026-11-29T10:01:03Z"},
    ]
    found = normalised(one, START)
    assert found == normalised(two, START)
    assert found[0]["metadata"] == {
        "name": "engine-bbbbb",
        "generateName": "engine-",
        "uid": "00000000-0000-4000-8000-000000000001",
        "resourceVersion": "1001",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    assert found[1]["metadata"]["resourceVersion"] == "1000"
    assert found[2]["message"].startswith("engine-bbbbb of 00000000-0000-4000-8000-000000000001 at 10.96.1.1,")
    assert found[2]["message"].endswith("2026-01-01T00:01:00Z")


def test_what_stays() -> None:
    """Times of another day, the server's fixed addresses, a version that is written by hand, a Deployment's fields."""
    document = {
        "kind": "Deployment",
        "metadata": {"managedFields": [{"manager": "leviathan"}], "resourceVersion": "0"},
        "text": "10.96.0.1 2026-11-23T20:00:00Z",
        "query": {"resourceVersion": "1"},
    }
    assert normalised(document, START) == document
