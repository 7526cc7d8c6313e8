#!/usr/bin/env python3
"""Builds KTransformers from its sdist, one stage a call, each into a site-packages folder of its own.

    build.py source --sdist F.tar.gz --patches DIR --out SRC    unpack, drop byte code, patch
    build.py cpu    --source SRC --march znver4 --out DIR       cpuinfer_ext for one -march entry
    build.py cuda   --source SRC --archs "9.0a 10.0" --out DIR  KTransformersOps for GPU architectures
    build.py python --source SRC --march "znver5 znver4" --out DIR

The stages share nothing but SRC, so they can be separate derivations; laid over one another they are the engine.
"""

import argparse
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
from recipe import RecipeError, cpu, cuda, source, tree  # noqa: E402  (byte code must not be written beside the recipe)


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
            one.add_argument("--cc", default=cpu.Compilers.cc, help="C compiler")
            one.add_argument("--cxx", default=cpu.Compilers.cxx, help="C++ compiler")
        return one

    first = stage("source", "unpack the sdist and patch it")
    first.add_argument("--sdist", type=Path, required=True, help="ktransformers-VERSION.tar.gz")
    first.add_argument("--patches", type=Path, default=tree.HERE / "patches", help="folder of *.patch, applied by name")
    stage("cpu", "build the CPU extension").add_argument("--march", required=True, help="one entry of march.json")
    stage("cuda", "build the GPU extension").add_argument("--archs", required=True, help='such as "9.0a 10.0 12.0"')
    last = stage("python", "copy the Python package")
    last.add_argument("--march", required=True, help="the entries that are built, best first, separated by spaces")
    last.add_argument("--cuda", default="12.8", help="CUDA version, for the package's version")
    last.add_argument("--torch", default="2.9.1", help="torch version, for the package's version")
    return top


def main(argv: list[str]) -> int:
    """Run one stage; 0, or 1 with one line on stderr."""
    args = parser().parse_args(argv)
    made: Path | str
    try:
        if args.stage == "source":
            made = source.make(args.sdist, args.patches, args.out)
        elif args.stage == "cpu":
            chosen = cpu.Compilers(args.cc, args.cxx)
            made = cpu.make(args.source, args.march, args.cuda_home, args.out, args.jobs, chosen)
        elif args.stage == "cuda":
            chosen = cpu.Compilers(args.cc, args.cxx)
            made = cuda.make(args.source, args.archs, args.cuda_home, args.out, args.jobs, chosen)
        else:
            made = tree.make(args.source, args.march.split(), args.cuda, args.torch, args.out)
    except (RecipeError, OSError) as problem:
        sys.stderr.write(f"build.py {args.stage}: {problem}\n")
        return 1
    sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
