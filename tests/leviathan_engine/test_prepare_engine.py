"""What the engine is started with: its cards, its threads, and what the front is told, with and without own rules."""

import json
import os
from pathlib import Path

import pytest
from front_process import TEMPLATE, write_folder

from leviathan_engine.errors import EngineError, PlanError, UsageError
from leviathan_engine.launcher import prepare
from leviathan_engine.launcher.flags import Settings, parse
from leviathan_engine.launcher.prepare import Prepared
from leviathan_engine.launcher.state_dir import state
from leviathan_engine.machine.cgroup import Limits
from leviathan_engine.model.known_templates import digest
from leviathan_engine.plan import Gpu

# In the order of CUDA_VISIBLE_DEVICES=2,0,1; the planner would take the largest alone.
CARDS = (Gpu(2, 8 << 30), Gpu(0, 24 << 30), Gpu(1, 16 << 30))


class Start:
    """A launcher's preparation on three cards, for the tiny model; `said` are its notes."""

    def __init__(self, work: Path, model: Path) -> None:
        self.work, self.said = work, list[str]()
        self.flags = ["--gguf_path", str(model), "--config_path", str(write_folder(work / "hf")), "--cache_lens", "512"]

    def settings(self, *flags: str) -> Settings:
        return parse([*self.flags, *flags])

    def rules(self) -> tuple[str, str]:
        (self.work / "rules.yaml").touch()
        return "--optimize_config_path", str(self.work / "rules.yaml")

    def prepare(self, *flags: str, **environ: str) -> Prepared:
        folder = state({"LEVIATHAN_STATE": str(self.work / "s")})
        return prepare.prepare(self.settings(*flags), folder, environ, lambda _phase: None, self.said.append)


@pytest.fixture
def start(tmp_path: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(prepare, "gpus", lambda _visible: CARDS)
    monkeypatch.setattr(prepare, "total_ram", lambda: 64 << 30)
    monkeypatch.setattr(prepare.cgroup, "limits", lambda: Limits(3.0, None))
    monkeypatch.setattr(prepare.cpu, "march", lambda _forced: "x86-64-v3")
    monkeypatch.setattr(prepare.cpu, "available", lambda quota: int(quota))
    monkeypatch.setattr(prepare.cpu, "physical_cores", lambda: 8)
    return Start(tmp_path, tiny_gguf)


def test_the_plan_chooses_the_cards(start: Start) -> None:
    """The control: without a rule file all of them, and a table says so."""
    prepared = start.prepare()
    assert prepared.environment["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    assert any("peak use" in text for text in start.said)


def test_with_rules_of_the_users_every_card_stays(start: Start) -> None:
    """A rule that names cuda:1 must find it; and nothing that is said or told the front comes from a plan."""
    prepared = start.prepare(*start.rules())
    assert prepared.environment["CUDA_VISIBLE_DEVICES"] == "2,0,1"
    assert prepared.environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert (prepared.model.max_prompt, prepared.model.start_seconds) == (511, None)
    assert any(text.startswith("no placement plan: --optimize_config_path decides") for text in start.said)
    assert not any("peak use" in text for text in start.said)


@pytest.mark.parametrize(("split", "visible"), [("8000,20000", "2,0"), ("0,20000,1", "0,1"), ("1", "2")])
def test_with_rules_the_split_still_leaves_cards_out(start: Start, split: str, visible: str) -> None:
    prepared = start.prepare(*start.rules(), "--gpu_split", split)
    assert prepared.environment["CUDA_VISIBLE_DEVICES"] == visible


def test_rules_on_the_cpu_alone_hide_no_card(start: Start) -> None:
    prepared = start.prepare(*start.rules(), "--", "--device", "cpu")
    assert "CUDA_VISIBLE_DEVICES" not in prepared.environment


def test_a_cache_longer_than_the_model_reads_is_refused_all_the_same(start: Start) -> None:
    with pytest.raises(PlanError, match=r"--cache_lens: expected 1 to 4096 tokens, .* got 4097; set --cache_lens to"):
        start.prepare(*start.rules(), "--cache_lens", "4097")
    start.prepare(*start.rules(), "--cache_lens", "4096")


def value(prepared: Prepared, flag: str) -> int:
    """What a flag of the worker's command line says."""
    return int(prepared.argv[prepared.argv.index(flag) + 1])


def test_without_a_length_the_cache_is_what_fits(start: Start) -> None:
    """The tiny model reads 4096 tokens, for which there is room; an answer may take what its prompt leaves."""
    start.flags = start.flags[:-2]
    for prepared in (start.prepare(), start.prepare(*start.rules())):
        assert (value(prepared, "--cache_lens"), value(prepared, "--chunk")) == (4096, 4096)
        model = prepared.model
        assert (model.cache_lens, model.max_prompt, model.max_new_tokens) == (4096, 4095, 4095)
    assert value(start.prepare("--cache_lens", "512"), "--chunk") == 512
    with pytest.raises(UsageError, match="--max_new_tokens 4096 leaves no room for a prompt in a KV cache of 4096"):
        start.prepare("--max_new_tokens", "4096")


def test_what_is_kept_of_conversations(start: Start, tmp_path: Path) -> None:
    """Memory that the experts leave, or as much as is asked for; a folder only where one is given."""
    prepared = start.prepare()
    assert value(prepared, "--kv_ram") == 16 * 10**9
    assert "--kv_dir" not in prepared.argv
    assert value(start.prepare("--kv_ram", "5"), "--kv_ram") == 5_000_000
    assert value(start.prepare(*start.rules()), "--kv_ram") == 0
    kept = start.prepare("--kv_dir", str(tmp_path / "kept"), "--kv_disk", "7")
    assert value(kept, "--kv_disk") == 7_000_000
    version = kept.argv[kept.argv.index("--kv_version") + 1]
    assert len(bytes.fromhex(version)) == 20
    again = start.prepare("--kv_dir", str(tmp_path / "kept"))
    assert again.argv[again.argv.index("--kv_version") + 1] == version
    os.utime(start.flags[1], (1, 1))
    other = start.prepare("--kv_dir", str(tmp_path / "kept"))
    assert other.argv[other.argv.index("--kv_version") + 1] != version


def test_which_experts_stay_on_the_gpus(start: Start, tmp_path: Path) -> None:
    """The two flags reach the worker, in front of KTransformers' own."""
    plain = start.prepare()
    assert "--freeze_experts" not in plain.argv
    assert "--expert_counts" not in plain.argv
    counts = tmp_path / "expert-uses.json"
    argv = start.prepare("--freeze_experts", "--expert_counts", str(counts)).argv
    assert argv[argv.index("--expert_counts") + 1] == str(counts)
    assert argv.index("--freeze_experts") < argv.index("--")


def test_torchs_own_threads_are_held_to_the_quota(start: Start) -> None:
    """torch counts cores and not the control group's quota, here 3 CPUs of 8 cores; a number of the user's stands."""
    assert start.prepare().environment["OMP_NUM_THREADS"] == "3"
    assert start.prepare(OMP_NUM_THREADS="2").environment["OMP_NUM_THREADS"] == "2"
    assert start.prepare(OMP_NUM_THREADS="").environment["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ strftime_now(1) }}", "must be str"),
        ("{{ raise_exception('needs a system message') }}", "needs a system message"),
        ("{{ messages[0].content.nothing.there }}", "has no attribute"),
        ("{{ messages.append(1) }}", "is not safely callable|unsafe|access"),
    ],
)
def test_a_template_that_renders_no_chat_ends_the_start(start: Start, template: str, why: str) -> None:
    """Before the model is loaded: later the server would be healthy and refuse every chat."""
    write_folder(start.work / "hf", template)
    with pytest.raises(EngineError, match=why) as caught:
        start.prepare()
    assert caught.value.message.startswith("the chat template cannot render a chat of one message")
    assert "engine.chat_template" in caught.value.remedy


def test_a_model_without_a_template_starts(start: Start) -> None:
    """Completions are all it can do, and the log says so."""
    settings = start.work / "hf" / "tokenizer_config.json"
    document = json.loads(settings.read_text())
    del document["chat_template"]
    settings.write_text(json.dumps(document))
    start.prepare()
    assert any(text.startswith("the model has no chat template") for text in start.said)


def test_which_template_it_is_is_said_at_the_start(start: Start) -> None:
    start.prepare()
    (said,) = (text for text in start.said if text.startswith("the chat template has SHA-256"))
    assert digest(TEMPLATE) in said
    assert said.endswith("set engine.chat_template in the site file (flag: --chat_template)")
