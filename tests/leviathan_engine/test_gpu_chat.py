"""tests/gpu/chat_side_by_side.py against a real front: it separates and compares what it measures on a GPU machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from front_process import FrontProcess

SCRIPT = Path(__file__).resolve().parents[1] / "gpu" / "chat_side_by_side.py"


def script(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *words]
    env = os.environ | {"MODEL": "letters"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_talk_of_turns_and_its_table(front: FrontProcess, tmp_path: Path) -> None:
    out = tmp_path / "ours.json"
    sizes = ("--turns", "3", "--first", "20", "--answer", "4", "--rounds", "1", "--more", "5")
    before = len(front.letters.jobs)
    done = script("ask", front.url, str(out), *sizes)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(out.read_text())
    assert [row["turn"] for row in rows] == [1, 2, 3]
    assert all(row["first_s"] > 0 for row in rows)
    # Question, answer and the marks around them come on top in each turn.
    assert [rows[n + 1]["prompt"] - rows[n]["prompt"] for n in (0, 1)] == [5 + 4 + 2] * 2
    assert [row.get("reread_s", 0) > 0 for row in rows] == [False, True, False]
    jobs = front.letters.jobs[before:]
    talk, again = jobs[3:6], jobs[5]
    assert len(jobs) == 7  # three to warm up, three turns, one of them again
    assert talk[1].ids[: len(talk[0].ids)] == talk[0].ids
    assert len(again.ids) == len(talk[1].ids)
    assert again.ids[:8] != talk[1].ids[:8]

    table = script("table", str(out), str(out))
    assert table.returncode == 0, table.stderr
    assert "| 5 | " in table.stdout
    other = tmp_path / "other.json"
    other.write_text(json.dumps([row | {"prompt": row["prompt"] + 1} for row in rows]))
    differs = script("table", str(out), str(other))
    assert (differs.returncode, "count other tokens" in differs.stderr) == (1, True)
