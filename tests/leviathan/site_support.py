"""A site file in a folder, and the problems of a site."""

from pathlib import Path
from typing import Any

import pytest

from leviathan.errors import UsageError
from leviathan.site.load import load


def write(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text)
    return path


def problem(path: Path | None = None, **how: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load(path, **how)
    assert caught.value.exit_code == 2
    return str(caught.value)
