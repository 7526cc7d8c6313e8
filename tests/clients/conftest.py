"""Public clients, unmodified and pinned (nix/locks/clients), in the image's root: launcher, front and KTransformers.

The model is tiny, its weights are written by hand (written_model.py), and it has DeepSeek-V3.1's chat template. Clients
that cannot live in one environment have a folder each, and a run of their own: LEVIATHAN_CLIENTS names the folder, and
LEVIATHAN_CLIENT_PACKAGES where its packages are. Without them nothing here is collected.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CHOSEN = os.environ.get("LEVIATHAN_CLIENTS", "").replace("-", "_")
collect_ignore = [folder.name for folder in HERE.iterdir() if folder.is_dir() and folder.name != CHOSEN]

if CHOSEN:
    # The engine gets what is there without the clients: their packages are of other versions than the image's.
    ENGINE_PATH = list(sys.path)
    sys.path[:0] = [
        str(HERE),
        str(HERE.parent / "leviathan_engine"),
        str(HERE.parent / "engine"),
        os.environ["LEVIATHAN_CLIENT_PACKAGES"],
    ]
    import written_model
    from deepseek_templates import template_source
    from launcher_process import CPU, Running

    CONTEXT, LONGEST = 8000, 600
    FLAGS = {"--model_name": "letters", "--cache_lens": CONTEXT, "--max_new_tokens": LONGEST}

    @pytest.fixture(scope="session")
    def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
        """One for all tests of a run."""
        work = tmp_path_factory.mktemp("engine")
        (work / "files").mkdir()
        written_model.write(work / "files" / "tiny.gguf")
        (work / "files" / "template.jinja").write_text(template_source("V3.1"), encoding="utf-8")
        own = {"--model_path": work / "files", "--chat_template": work / "files" / "template.jinja"}
        running = Running(work, engine=CPU, flags=FLAGS | own, packages=ENGINE_PATH)
        try:
            running.wait()
            yield running
        finally:
            running.end()
