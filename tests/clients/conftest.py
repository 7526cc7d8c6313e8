"""Public clients, unmodified and pinned (nix/locks/clients), over a real front process; an engine says what a test has
it say.

Clients that cannot live in one environment have a folder each, and a run of their own: LEVIATHAN_CLIENTS names the
folder whose environment is on PYTHONPATH. Without it nothing here is collected.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "leviathan_engine")]
CHOSEN = os.environ.get("LEVIATHAN_CLIENTS", "").replace("-", "_")
collect_ignore = [folder.name for folder in HERE.iterdir() if folder.is_dir() and folder.name != CHOSEN]

if CHOSEN:
    import json

    from deepseek_templates import template_source
    from front_process import FrontProcess, Letters
    from tokenizers import AddedToken, Tokenizer

    from leviathan_engine import wire
    from leviathan_engine.model.tool_format import CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, SEP

    MARKS = (CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEP, "<think>", "</think>")

    def add_marks(folder: Path) -> None:
        """DeepSeek's tokens around calls and thoughts, as a model of theirs has them: strict tools need them."""
        path = folder / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in MARKS])
        tokenizer.save(str(path))
        (folder / "config.json").write_text(json.dumps({"vocab_size": tokenizer.get_vocab_size()}))

    class Script(Letters):
        """Says its texts one after the other at any temperature, and the last one from then on."""

        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.texts: list[str] = []
            self.asked: list[wire.Job] = []

        def tokens(
            self, job: wire.Job, cancelled: Callable[[], bool], progress: Callable[[wire.PromptProgress], None]
        ) -> Iterator[int | wire.Chosen]:
            self.asked.append(job)
            if self.texts:
                self.says(self.texts.pop(0))
            return super().tokens(replace(job, temperature=0.0), cancelled, progress)

    class Server(FrontProcess):
        """A front with V3.1's chat template, whose engine follows a script."""

        script: Script

        def say(self, *texts: str) -> None:
            """The next answers."""
            self.script.texts = list(texts)
            self.script.asked.clear()

        def prompt(self, number: int = -1) -> str:
            """The prompt of a job since `say`."""
            answer = self.post("/detokenize", {"tokens": list(self.script.asked[number].ids)})
            return str(answer.json()["content"])

    @pytest.fixture(scope="session")
    def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        """One front for all tests of a run."""
        process = Server(tmp_path_factory.mktemp("front"), template_source("V3.1"))
        add_marks(process.folder)
        process.letters = process.script = Script(process.folder)
        process.serve(cache_lens=30000, max_prompt=20000, max_new_tokens=4000)
        yield process
        process.close()

    @pytest.fixture
    def server(running: Server) -> Server:
        """The front, with nothing left of another test."""
        running.say("Four.")
        return running
