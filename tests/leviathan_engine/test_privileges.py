"""After the mount nothing keeps privileges that it does not need: users, capabilities, no_new_privs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from front_process import TOOLS, write_folder
from host_only import need_users

from leviathan_engine.launcher import users
from leviathan_engine.launcher.launch import ONE_THREAD
from leviathan_engine.launcher.state_dir import State, state

ROOT = os.geteuid() == 0
PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from leviathan_engine.machine.privileges import give_up
words = json.loads(sys.argv[2])
give_up(*words)
names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs")
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({name: lines[name].split() for name in names}))
"""


def status_after(*words: object, prefix: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """What the kernel says of a process that has given up its privileges."""
    argv = [*prefix, sys.executable, "-c", PROGRAM, str(TOOLS), json.dumps(words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_process_keeps_nothing() -> None:
    """As root it becomes another user; as anybody else it stays who it is. Either way no program can give more."""
    if ROOT:
        need_users(users.FRONT)
    found = status_after(users.FRONT, users.GROUP) if ROOT else status_after()
    uid = users.FRONT if ROOT else os.getuid()
    assert found["Uid"] == [str(uid)] * 4
    assert found["NoNewPrivs"] == ["1"]
    for name in ("CapInh", "CapPrm", "CapEff"):
        assert int(found[name][0], 16) == 0, name
    if ROOT:
        assert (found["Gid"], found["Groups"]) == ([str(users.GROUP)] * 4, [])
        assert int(found["CapBnd"][0], 16) == 0


def test_root_keeps_what_is_named_alone() -> None:
    """In a user namespace, where everybody is root: the launcher keeps the right to end its children."""
    prefix = () if ROOT else ("unshare", "--user", "--map-root-user")
    found = status_after(None, None, [5], prefix=prefix)
    assert found["Uid"] == ["0"] * 4
    assert found["NoNewPrivs"] == ["1"]
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[name][0], 16) == 1 << 5, name
    assert int(found["CapInh"][0], 16) == 0


@pytest.mark.parametrize("program", ["front", "worker"])
def test_there_is_one_thread_when_privileges_are_given_up(program: str) -> None:
    """The other threads would keep theirs. numpy starts one for each further CPU; the control is a machine with two."""
    count = "import os, sys, {}\nprint(len(os.listdir('/proc/self/task')))"

    def threads(module: str) -> int:
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(TOOLS), *sys.path]),
            "OPENBLAS_NUM_THREADS": "4",
        }
        argv = [sys.executable, "-c", count.format(module)]
        return int(subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=120).stdout)

    assert threads(f"leviathan_engine.{program}.__main__") == 1
    if len(os.sched_getaffinity(0)) > 1:
        assert threads("numpy") > 1


@pytest.mark.parametrize("environ", [ONE_THREAD, {}], ids=["as the launcher", "control"])
def test_the_launcher_prepares_without_threads_that_last(tmp_path: Path, environ: dict[str, str]) -> None:
    """It is root with all capabilities until then; reading the header and a chat for trial start none."""
    write_folder(tmp_path)
    program = """
import os, sys
from pathlib import Path
from leviathan_engine.launcher import prepare
from leviathan_engine.model import chat_prompt
from leviathan_engine.model.rendered_chat import ChatPrompt
prompts = chat_prompt.load(Path(sys.argv[1]))
prompts.chat(ChatPrompt(({"role": "user", "content": "hi"},)), 400)
prompts.close()
print(len(os.listdir("/proc/self/task")))
"""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(TOOLS), *sys.path]), **environ}
    argv = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=120)
    if environ:
        assert int(done.stdout) == 1
    elif len(os.sched_getaffinity(0)) > 1:
        assert int(done.stdout) > 1


def test_what_is_not_open_to_everybody_is_found(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    for folder in (tmp_path, inside.parent, inside):
        folder.chmod(0o755)
    file = inside / "file"
    file.write_text("x")
    file.chmod(0o640)
    link = inside / "link"
    link.symlink_to(file)
    private = next((one for one in reversed(tmp_path.parents) if not one.stat().st_mode & 1), None)
    if private is None:
        assert users.closed(link) == f"other users may not read {file}"
        file.chmod(0o644)
        assert users.closed(link) == ""
        inside.parent.chmod(0o700)
        private = inside.parent
    assert users.closed(link) == f"other users may not enter {private}"
    assert users.closed(Path("/usr")) == users.closed(Path(os.devnull)) == ""
    assert "No such file" in users.closed(Path("/absent/file"))


def test_who_is_not_root_stays_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    folder = state({"LEVIATHAN_STATE": str(tmp_path / "s")})
    assert users.front_obstacle(folder, {}, None) == "the launcher is not root"
    assert users.engine_obstacle(folder, []) == "the launcher is not root"


def test_a_secret_that_only_root_reads_keeps_the_front_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(users, "_programs", lambda: ())
    key = tmp_path / "key"
    key.write_text("x")
    key.chmod(0o400)
    folder = State(Path("/var/lib"))
    assert users.front_obstacle(folder, {}, None) == ""
    obstacle = users.front_obstacle(folder, {"LEVIATHAN_API_KEY_FILE": str(key)}, None)
    assert obstacle.startswith(("other users may not read", "other users may not enter"))


def test_devices_that_are_not_open_keep_the_engine_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(users, "_programs", lambda: ())
    folder = State(Path("/var/lib"))
    for pattern, expected in (("dev/null", ""), ("dev/absent*", "")):
        monkeypatch.setattr(users, "DEVICES", pattern)
        assert users.engine_obstacle(folder, []) == expected
    monkeypatch.setattr(users, "DEVICES", "dev/null")
    monkeypatch.setattr(users, "OPEN_MODE", 0o1006)  # a bit that it does not have
    assert users.engine_obstacle(folder, []) == "other users may not read and write /dev/null"


def test_the_state_folder_is_shared_out() -> None:
    need_users(users.FRONT)
    folder = state({"LEVIATHAN_STATE": "/tmp/leviathan-users-test"})
    try:
        (folder.home / "x").mkdir()
        users.open_state(folder)
        users.give_to_engine(folder, folder.root / "kept")
        owners = {path.name: path.stat().st_uid for path in (folder.root, folder.run, folder.home, folder.reason)}
        assert (folder.root / "kept").stat().st_uid == users.ENGINE
        assert owners == {
            "leviathan-users-test": 0,
            "run": users.FRONT,
            "home": users.ENGINE,
            "reason": users.ENGINE,
        }
        assert (folder.home / "x").stat().st_uid == users.ENGINE
        assert users.closed(folder.root.parent) == ""
    finally:
        subprocess.run(["rm", "-r", str(folder.root)], check=True)
