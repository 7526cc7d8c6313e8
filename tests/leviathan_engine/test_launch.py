"""The launcher's own part: what it finds, what it says when a start fails, how it ends."""

import socket
from pathlib import Path

import pytest
from front_process import write_folder
from launch_support import PATIENCE, SMI, free_port, start

from leviathan_engine.errors import EngineError
from leviathan_engine.launcher.launch import ending, listen
from leviathan_engine.launcher.prepare import split_device, total_ram
from leviathan_engine.launcher.state_dir import last_words, state
from leviathan_engine.machine.gpus import gpus, parse, select
from leviathan_engine.plan import Gpu
from leviathan_engine.worker.load_progress import count_tensors, layer_of


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--model_path", "none", "--gpu_split", "90000,-1"], 2, "expected integers of 0 or more, got '-1'"),
        (["--model_path", "{work}/none", "--port", "{port}"], 1, "no such file or folder"),
    ],
)
def test_the_reason_is_the_last_line_and_the_termination_log(
    tmp_path: Path, flags: list[str], code: int, says: str
) -> None:
    process = start(tmp_path, *(flag.format(work=tmp_path, port=free_port()) for flag in flags))
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, "")
    last = err.splitlines()[-1]
    assert says in last
    assert "Traceback" not in err
    assert (tmp_path / "log").read_text() == last.removeprefix("error: ")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LEVIATHAN_QUEUE", "many", "LEVIATHAN_QUEUE: expected an integer above 0, got 'many'"),
        ("LEVIATHAN_MAX_BODY", "0", "LEVIATHAN_MAX_BODY: expected an integer above 0, got '0'"),
        ("LEVIATHAN_API_KEY_FILE", "{work}/absent", "LEVIATHAN_API_KEY_FILE: cannot read {work}/absent"),
        ("LEVIATHAN_API_KEY_FILE", "{work}/empty", "LEVIATHAN_API_KEY_FILE: {work}/empty has no key"),
    ],
)
def test_a_wrong_setting_of_the_front_ends_the_start(tmp_path: Path, name: str, value: str, says: str) -> None:
    (tmp_path / "empty").write_text("\n")
    process = start(tmp_path, "--model_path", "none", **{name: value.format(work=tmp_path)})
    _out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {says.format(work=tmp_path)}; ")
    assert (tmp_path / "log").read_text() == err.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("tokenizer.json", None, "cannot read {folder}/tokenizer.json: "),
        ("tokenizer.json", "{}", "cannot read {folder}/tokenizer.json: "),
        ("tokenizer_config.json", '{"chat_template": "{% if %}"}', "{folder}/tokenizer_config.json: chat_template: "),
        (
            "generation_config.json",
            '{"temperature": "hot"}',
            "{folder}/generation_config.json: temperature: expected a number, got 'hot'",
        ),
        ("config.json", "{", "cannot read {folder}/config.json: "),
    ],
)
def test_a_tokenizer_that_cannot_be_read_ends_the_start(
    tmp_path: Path, tiny_gguf: Path, name: str, text: str | None, says: str
) -> None:
    """Before the model is loaded: afterwards it would be healthy, and could be asked nothing."""
    folder = write_folder(tmp_path / "hf")
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    flags = ("--gguf_path", str(tiny_gguf), "--config_path", str(folder), "--port", str(free_port()))
    process = start(tmp_path, *flags)
    _out, err = process.communicate(timeout=PATIENCE)
    last = err.splitlines()[-1]
    assert process.returncode == 1
    assert last.startswith(f"error: {says.format(folder=folder)}")
    assert "Traceback" not in err
    assert (tmp_path / "log").read_text() == last.removeprefix("error: ")


def test_a_tokenizer_that_can_be_read_does_not(tmp_path: Path, tiny_gguf: Path) -> None:
    """The control of the test above: the start continues, and stops because there is no rule file."""
    flags = ("--gguf_path", str(tiny_gguf), "--config_path", str(write_folder(tmp_path / "hf")))
    process = start(tmp_path, *flags, "--port", str(free_port()), "--", "--device", "cpu")
    _out, err = process.communicate(timeout=PATIENCE)
    assert "error: --device cpu needs a rule file" in err.splitlines()[-1]


@pytest.mark.parametrize("rules", [False, True])
@pytest.mark.parametrize(("split", "code"), [("9000,8000,7000", 2), ("9000,8000", 1)])
def test_more_shares_than_gpus_end_the_start_first(
    tmp_path: Path, tiny_gguf: Path, split: str, code: int, rules: bool
) -> None:
    """Also with the user's own rule file. As many shares as GPUs pass, until the file has no tokenizer."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<.\n{SMI}.\n")
    program.chmod(0o755)
    (tmp_path / "rules.yaml").touch()
    own = ("--optimize_config_path", str(tmp_path / "rules.yaml")) if rules else ()
    flags = ("--model_path", str(tiny_gguf), "--gpu_split", split, *own)
    process = start(tmp_path, *flags, "--port", str(free_port()))
    _out, err = process.communicate(timeout=PATIENCE)
    last = err.splitlines()[-1]
    assert process.returncode == code
    if code == 2:
        assert last.startswith("error: --gpu_split '9000,8000,7000' has 3 numbers, but this container has 2 GPUs; ")
        assert not (tmp_path / "s" / "hf").exists()
    else:
        assert "expected the tokenizer 'gpt2'" in last
    assert (tmp_path / "log").read_text() == last.removeprefix("error: ")


def test_a_fault_of_the_image_has_its_reason_too(tmp_path: Path, tiny_gguf: Path) -> None:
    """numpy cannot be imported: a traceback for who mends it, and then the line."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['numpy'] = None\n")
    process = start(tmp_path, "--model_path", str(tiny_gguf), "--port", str(free_port()))
    _out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: the launcher failed: ModuleNotFoundError: import of numpy halted")
    assert (tmp_path / "log").read_text() == err.splitlines()[-1].removeprefix("error: ")


def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EngineError, match=rf"cannot listen on 127.0.0.1:{port}: .*--port"):
            listen("127.0.0.1", port)
    listen("127.0.0.1", port).close()


def test_state_folder(tmp_path: Path) -> None:
    folder = state({"LEVIATHAN_STATE": str(tmp_path / "a")})
    assert folder.root == tmp_path / "a"
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert all(value.startswith(str(tmp_path)) for key, value in folder.environment().items() if "HOME" in key)
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"no writable folder .*file/b: Not a directory"):
        state({"LEVIATHAN_STATE": str(tmp_path / "file" / "b")})
    with pytest.raises(EngineError, match="longer than 107 bytes"):
        state({"LEVIATHAN_STATE": str(tmp_path / ("x" * 100))})


def test_last_words_are_cut_to_what_the_kubelet_keeps(tmp_path: Path) -> None:
    last_words("x" * 5000, {"LEVIATHAN_TERMINATION_LOG": str(tmp_path / "log")})
    assert (tmp_path / "log").stat().st_size == 4096


def test_cards_of_nvidia_smi(tmp_path: Path) -> None:
    cards = parse(SMI)
    large, small = Gpu(0, 97887 << 20, "NVIDIA RTX PRO 6000, Blackwell"), Gpu(1, 32607 << 20, "NVIDIA GeForce RTX 5090")
    assert select(cards, None) == (small, large)
    assert select(cards, "0,1") == (large, small)
    assert select(cards, "GPU-bbbb") == (small,)
    assert select(cards, "") == ()
    with pytest.raises(EngineError, match="'2' is not one of this container's 2 GPUs"):
        select(cards, "0,2")
    with pytest.raises(EngineError, match="expected a line with the GPU's index, UUID, memory and name"):
        parse("0, GPU-a, [N/A], x\n")
    program = tmp_path / "smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match="nvidia-smi failed: NVIDIA-SMI has failed"):
        gpus(None, str(program))
    program.write_text("#!/bin/sh\nprintf '0, GPU-a, 1000, X \\377\\n'\n")
    assert gpus(None, str(program)) == (Gpu(0, 1000 << 20, "X \ufffd"),)
    assert gpus(None, str(tmp_path / "absent")) == ()


def test_how_a_process_ended() -> None:
    assert ending(3) == "with exit code 3"
    assert ending(-9).startswith("by SIGKILL; most likely it ran out of memory")
    assert ending(-15) == "by SIGTERM"


def test_the_device_is_taken_out_of_the_engines_flags() -> None:
    assert split_device(("--device", "cpu", "--top_k", "1")) == ("cpu", ("--top_k", "1"))
    assert split_device(("--top_k=1", "--device=cuda:1")) == ("cuda:1", ("--top_k=1",))
    assert split_device(()) == ("", ())


def test_total_ram(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       1024 kB\nMemFree: 1 kB\n")
    assert total_ram(path) == 1 << 20
    with pytest.raises(EngineError, match="cannot read MemTotal"):
        total_ram(tmp_path / "absent")


def test_load_progress_counts_each_tensor_once() -> None:
    """Bytes grow with new tensors alone; a layer counts when a later one has begun."""

    class Loader:
        def get_mmap_tensor(self, name: str) -> memoryview:
            return memoryview(bytes(len(name)))

    now = [0.0]
    heard: list[tuple[int, int]] = []
    count_tensors(Loader, lambda layers, size: heard.append((layers, size)), lambda: now[0])
    loader = Loader()
    for name in ("token_embd.weight", "blk.0.a", "blk.0.a", "blk.2.b", "output.weight"):
        now[0] += 1
        assert len(loader.get_mmap_tensor(name)) == len(name)
    assert heard == [(0, 17), (0, 24), (2, 31), (2, 44)]
    assert layer_of("blk.12.ffn_up_exps.weight") == 12
