"""`python -m leviathan_engine.gguf PATH`: checks a model's files and prints their header as JSON."""

import argparse
import sys
from pathlib import Path

from leviathan_engine.errors import EngineError

from . import dump, read_model


def main(argv: list[str] | None = None) -> int:
    """Prints the dump on stdout, errors as one line on stderr; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m leviathan_engine.gguf", description=__doc__)
    parser.add_argument("path", type=Path, help="GGUF file, or folder with the GGUF files")
    parser.add_argument("--vocabulary", action="store_true", help="include the token lists")
    args = parser.parse_args(argv)
    try:
        sys.stdout.write(dump.dump(read_model(args.path), vocabulary=args.vocabulary) + "\n")
    except EngineError as err:
        sys.stderr.write(f"error: {err.line()}\n")
        return err.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
