#!/usr/bin/env python3
"""Builds KTransformers from its sdist, one stage a call, each into a site-packages folder of its own.

    build.py source --sdist F.tar.gz --patches DIR --out SRC    unpack, drop byte code, patch
    build.py cpu    --source SRC --march znver4 --out DIR       cpuinfer_ext for one -march entry
    build.py cuda   --source SRC --archs "9.0a 10.0" --out DIR  KTransformersOps for GPU architectures
    build.py python --source SRC --march "znver5 znver4" --out DIR

The stages share nothing but SRC, so they can be separate derivations; laid over one another they are the engine. Each
imports its own modules of recipe/ only: a derivation gets those and no others (default.nix).
"""

import argparse
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
from recipe import RecipeError  # noqa: E402  (byte code must not be written beside the recipe)

HERE = Path(__file__).resolve().parent


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="build.py", description="Builds KTransformers from its sdist.")
    stages = top.add_subparsers(dest="stage", required=True)
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")

    def stage(name: str, text: str) -> argparse.ArgumentParser:
        one = stages.add_parser(name, help=text)
        one.add_argument("--out", type=Path, required=True, help="folder to write to")
        if name != "source":
            one.add_argument("--source", type=Path, required=True, help="the tree that stage source made")
        if name in ("cpu", "cuda"):
            one.add_argument("--cuda-home", type=Path, default=Path(home), help="CUDA toolkit")
            one.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at once")
            one.add_argument("--cc", default="clang-19", help="C compiler")
            one.add_argument("--cxx", default="clang++-19", help="C++ compiler")
        return one

    first = stage("source", "unpack the sdist and patch it")
    first.add_argument("--sdist", type=Path, required=True, help="ktransformers-VERSION.tar.gz")
    first.add_argument("--patches", type=Path, default=HERE / "patches", help="folder of *.patch, applied by name")
    stage("cpu", "build the CPU extension").add_argument("--march", required=True, help="one entry of march.json")
    stage("cuda", "build the GPU extension").add_argument("--archs", required=True, help='such as "9.0a 10.0 12.0"')
    last = stage("python", "copy the Python package")
    last.add_argument("--march", required=True, help="the entries that are built, best first, separated by spaces")
    last.add_argument("--cuda", default="12.8", help="CUDA version, for the package's version")
    last.add_argument("--torch", default="2.9.1", help="torch version, for the package's version")
    return top


def make(args: argparse.Namespace) -> Path | str:
    """Do the stage that `args` name, with the modules of that stage."""
    if args.stage == "source":
        from recipe import source  # noqa: PLC0415

        return source.make(args.sdist, args.patches, args.out)
    if args.stage == "python":
        from recipe import tree  # noqa: PLC0415

        return tree.make(args.source, args.march.split(), args.cuda, args.torch, args.out)
    from recipe.compilers import Compilers  # noqa: PLC0415

    compilers = Compilers(args.cc, args.cxx)
    if args.stage == "cpu":
        from recipe import cpu  # noqa: PLC0415

        return cpu.make(args.source, args.march, args.cuda_home, args.out, args.jobs, compilers)
    from recipe import cuda  # noqa: PLC0415

    return cuda.make(args.source, args.archs, args.cuda_home, args.out, args.jobs, compilers)


def main(argv: list[str]) -> int:
    """Run one stage; 0, or 1 with one line on stderr."""
    args = parser().parse_args(argv)
    try:
        sys.stdout.write(f"{make(args)}\n")
    except (RecipeError, OSError) as problem:
        sys.stderr.write(f"build.py {args.stage}: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
