"""Run `poetry lock` on any host; run as a script by a Python that has Poetry on its path.

Poetry reads a release's metadata from an API of its default index that mirrors and proxies often lack: where a release
is not found there, this takes it from the simple index at the same address. And Poetry refuses to work in a Python that
the project does not support, although locking does not depend on it: this locks for 3.11 on a host with 3.13.
"""

import sys

del sys.path[0]  # Poetry must not import this folder's modules

import importlib  # noqa: E402
from typing import Any  # noqa: E402


def main() -> int:
    """Poetry's command line; its exit status."""
    application = importlib.import_module("poetry.console.application")
    missing = importlib.import_module("poetry.repositories.exceptions").PackageNotFoundError
    simple = importlib.import_module("poetry.repositories.legacy_repository").LegacyRepository
    default = importlib.import_module("poetry.repositories.pypi_repository").PyPiRepository
    original = default._get_release_info

    def release_info(self: Any, name: Any, version: Any) -> Any:
        try:
            return original(self, name, version)
        except missing:
            index = simple("PyPI", self._base_url.rstrip("/") + "/simple/", disable_cache=True)
            return index._get_release_info(name, version)

    default._get_release_info = release_info
    manager = importlib.import_module("poetry.utils.env").EnvManager
    manager.create_venv = lambda self, *_, **__: self.get_system_env()
    return int(application.main())


if __name__ == "__main__":
    sys.exit(main())
