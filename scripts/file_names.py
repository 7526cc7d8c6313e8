"""Prints each file name that a package of tools/ has more than once, and each file of tools/ or tests/ of 300 lines.

A file name has to say which file is meant without its folder (docs/style.md). Ends with 1 if there is one to print.
"""

import collections
import pathlib
import sys

FIXED = {"__init__.py", "__main__.py", "errors.py"}
# Each API of the front has the same files: a folder an API, a file a step.
API_FOLDERS = {"anthropic", "ollama", "openai", "responses", "tokens"}
API_FILES = {"answers.py", "body.py", "adapters.py"}
LINES = 300
#: To be split: the limit that each of these has until then.
LONGER = {
    "tests/e2e/node/managed.py": 330,
    "tests/engine/test_decode_kernels.py": 370,
    "tests/engine/test_prompt_logprobs.py": 350,
    "tests/gpu/engine_run.py": 350,
    "tests/leviathan/apply_scenes.py": 370,
    "tests/leviathan_engine/test_front_echo.py": 350,
    "tests/leviathan_nvcc/test_nvcc_argv.py": 310,
    "tools/leviathan_engine/worker/ktransformers.py": 340,
}


def long(path: pathlib.Path) -> list[str]:
    """What is wrong with the length of a file, if anything."""
    count = len(path.read_text(encoding="utf-8").splitlines())
    limit = LONGER.get(str(path), LINES)
    return [f"{path} has {count} lines, expected fewer than {limit}; fix: split it"] if count >= limit else []


def main() -> int:
    wrong = [line for path in sorted(pathlib.Path("tests").rglob("*.py")) for line in long(path)]
    for package in sorted(pathlib.Path("tools").iterdir()):
        files = collections.defaultdict(list)
        for path in sorted(package.rglob("*.py")):
            wrong += long(path)
            api = path.name in API_FILES and path.parent.name in API_FOLDERS
            if path.name not in FIXED and not api:
                files[path.name].append(str(path))
        wrong += [
            f"one file name twice: {' and '.join(same)}; fix: rename one" for same in files.values() if len(same) > 1
        ]
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


sys.exit(main())
