"""`leviathan plan`: the engine's own planner for a site, without a GPU."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from push_support import TOOLS
from tiny_gguf import write_tiny

from leviathan.errors import ExitCode
from leviathan.model.manifest import Manifest, ModelFile
from leviathan.placement import Misfit, Wishes, load_model, plan, translated, write_header
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan_engine.gguf import read_model
from leviathan_engine.launcher.flags import parse
from leviathan_engine.model.reference import TINY, q4_k_m
from leviathan_engine.plan import Gpu, Machine, Request, make_plan
from leviathan_engine.plan.machine import GIB, MB

CARDS = "102642,34190"  # RTX PRO 6000 and RTX 5090, in MB
SMALL = ("--json", "--gpu-split", "3000,2000", "--cache-lens", "2048")


def site(**named: str) -> Site:
    return load(named={key.replace("__", "."): value for key, value in named.items()}).site


def leviathan(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leviathan", "plan", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with a small GGUF model."""
    return write_tiny(tmp_path / "tiny")


def test_it_is_the_engines_plan() -> None:
    """The same numbers as the launcher gets in the pod, with the site's split, limit and disk."""
    made = plan(site(), None, Wishes(gpu_memory=CARDS))
    machine = Machine(
        gpus=(Gpu(0, 102642 * MB), Gpu(1, 34190 * MB)), ram=384 * GIB, memory_limit=360 * GIB, disk_rate=1000 * MB
    )
    assert made.plan == make_plan(q4_k_m(), machine, Request(split=(90000 * MB, 30000 * MB)))
    assert made.assumed
    assert made.threads.count == 95
    assert "the CPU experts use 95 threads instead of 96" in made.text()


def test_the_sites_cache_is_planned_and_the_flag_goes_before_it() -> None:
    def cache(wishes: Wishes, **more: str) -> int:
        return plan(site(**more), None, wishes).plan.cache_lens

    assert cache(Wishes()) == 163_840  # all that the model reads: the engine leaves the choice to the planner, too
    assert parse(["--model_path", "x"]).cache_lens is None
    assert cache(Wishes(), engine__cache_lens="4096") == 4096
    assert cache(Wishes(cache_tokens=2048), engine__cache_lens="4096") == 2048


def test_without_cards_the_split_is_their_memory() -> None:
    made = plan(site(engine__gpu_split="20000,12000"), None, Wishes())
    assert [gpu.memory for gpu in made.plan.gpus] == [20000 * MB, 12000 * MB]


def test_the_planner_may_choose() -> None:
    made = plan(site(), None, Wishes(gpu_memory=CARDS, choose=True, ram_mb_per_s=300_000))
    assert made.plan.visible == (0, 1)
    assert made.plan.decode_bound is not None
    with pytest.raises(Misfit, match="--choose needs to know the cards") as caught:
        plan(site(), None, Wishes(choose=True))
    assert caught.value.exit_code == ExitCode.USAGE


def test_warnings_speak_of_the_site() -> None:
    assert plan(site(), None, Wishes(gpu_memory=CARDS)).warnings == ()
    small = {"resources__memory_limit": "240Gi", "resources__memory_request": "240Gi"}
    made = plan(site(**small), None, Wishes(gpu_memory=CARDS))
    [page_cache] = made.warnings
    assert re.search(r"set resources\.memory_limit to \d+Gi or more$", page_cache)
    assert page_cache in made.text()
    enough = page_cache.rpartition(" to ")[2].partition(" ")[0]
    small["resources__memory_limit"] = enough
    assert plan(site(**small), None, Wishes(gpu_memory=CARDS)).warnings == ()


def test_words_of_the_engine_have_ours() -> None:
    """Every flag of the engine in a sentence of the planner has this tool's name; a new sentence shows here."""
    source = "".join(path.read_text() for path in (TOOLS / "leviathan_engine/plan").glob("[!_]*.py"))
    assert "--gpu_split" in source
    assert "--gpu_split" not in translated(source)
    assert "--cache_lens" not in translated(source)


@pytest.mark.parametrize(
    ("change", "wishes", "words", "remedy"),
    [
        ({"engine__gpu_split": "9000,3000"}, Wishes(), "12.0 GB of GPU memory are 2.32 GB too few", "engine.gpu_split"),
        ({}, Wishes(gpu_memory="20000,10000"), "engine.gpu_split: 90000 MB are ", "lower that number"),
        ({}, Wishes(gpu_memory="102642"), "has 2 numbers, but there is 1 GPU", "one number for each GPU"),
        (
            {},
            Wishes(gpu_memory="many"),
            "--gpu-memory 'many': expected integers of 0 or more, got 'many'",
            "give the MB of each GPU",
        ),
        ({}, Wishes(cache_tokens=1 << 20), "--cache-lens: expected 1 to 163840 tokens", "at most 163840"),
        (
            {"resources__memory_limit": "100Gi", "resources__memory_request": "90Gi"},
            Wishes(),
            "198.0 GiB are missing",
            "raise resources.memory_limit",
        ),
    ],
)
def test_what_cannot_fit_is_refused(change: dict[str, str], wishes: Wishes, words: str, remedy: str) -> None:
    with pytest.raises(Misfit) as caught:
        plan(site(**change), None, wishes)
    assert words in caught.value.what
    assert remedy in caught.value.remedy


def test_a_folder_a_dump_and_a_manifest_are_the_same_model(tiny: Path, tmp_path: Path) -> None:
    model = load_model(tiny)
    dumped, manifest = tmp_path / "header.json", tmp_path / "model.json"
    write_header(model, dumped)
    manifest.write_text(Manifest((ModelFile("tiny.gguf", 1),), dumped.read_text().strip()).json())
    plans = [plan(site(), load_model(path), Wishes(cache_tokens=2048)).data() for path in (tiny, dumped, manifest)]
    assert plans[0] == plans[1] == plans[2]
    assert plans[0]["layers"] == TINY.layers
    assert not plans[0]["assumed"]
    assert read_model(tiny).tensors.keys() == load_model(dumped).tensors.keys()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none", None, "no such file or folder"),
        ("none.json", None, "cannot read the model"),
        ("empty.json", "", "expected a dump of a GGUF header, got a text that is not JSON (line 1, column 1)"),
        ("object.json", "{}", "expected a dump of a GGUF header, got JSON without the field 'format'"),
        ("list.json", "[]", "expected a dump of a GGUF header, got JSON of another form"),
        ("wrong.json", '{"format": "other"}', "got 'other'"),
        ("bad.gguf", "GGUF", "not a GGUF file: it has only 4 bytes"),
    ],
)
def test_what_is_no_model(name: str, content: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(Misfit) as caught:
        load_model(path)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.remedy


def test_the_command(tiny: Path, tmp_path: Path) -> None:
    done = leviathan(tmp_path, "--gpu-memory", CARDS, "--memory-limit", "380Gi", "--ram", "512Gi")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no model given: DeepSeek-V3 Q4_K_M")
    assert "limit 380.0 GiB" in done.stdout
    written = leviathan(tmp_path, str(tiny), "--write-header", "h.json", *SMALL)
    assert written.returncode == 0, written.stderr
    assert "wrote h.json" in written.stderr
    report: dict[str, Any] = json.loads(written.stdout)
    assert report["ok"] is True
    again = leviathan(tmp_path, "h.json", *SMALL)
    assert json.loads(again.stdout) == report
    refused = leviathan(tmp_path, "h.json", *SMALL, "--gpu-split", "700,700")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]["remedy"]
    assert len(refused.stderr.splitlines()) == 1
    assert leviathan(tmp_path, "--choose").returncode == 2
