"""`python -m leviathan_engine.plan`: plans a model on a machine, without a GPU and without the model's files."""

import argparse
import json
import sys
from pathlib import Path

from leviathan_engine.errors import EngineError
from leviathan_engine.gguf import Model, dump, read_model
from leviathan_engine.model.reference import q4_k_m
from leviathan_engine.model.shape import read_shape
from leviathan_engine.plan.machine import gpu_split

from . import Gpu, Machine, Request, make_plan
from .machine import GIB, MB
from .rule_file import rules_yaml
from .table import render


def load(path: Path | None) -> Model:
    """Returns the model of a GGUF file or folder or of a header dump (.json); without a path DeepSeek-V3 Q4_K_M."""
    if path is None:
        return q4_k_m()
    return dump.read(path) if path.suffix == ".json" else read_model(path)


def main(argv: list[str] | None = None) -> int:
    """Prints the plan on stdout, errors as one line on stderr; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        model = load(args.model)
        gpus = tuple(Gpu(i, size) for i, size in enumerate(gpu_split(args.gpus, "--gpus")))
        machine = Machine(
            gpus=gpus,
            ram=round(args.ram * GIB),
            memory_limit=None if args.memory_limit is None else round(args.memory_limit * GIB),
            numa_nodes=args.numa_nodes,
            disk_rate=None if args.disk_rate is None else args.disk_rate * MB,
            ram_rate=None if args.ram_rate is None else args.ram_rate * MB,
        )
        split = None if args.gpu_split is None else gpu_split(args.gpu_split)
        plan = make_plan(model, machine, Request(args.cache_lens, split))
        if args.rules:
            text = rules_yaml(plan, model, read_shape(model))
        else:
            text = json.dumps(plan.to_dict(), indent=2) + "\n" if args.json else render(plan)
    except EngineError as err:
        sys.stderr.write(f"error: {err.line()}\n")
        return err.exit_code
    sys.stdout.write(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m leviathan_engine.plan", description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", help="GGUF folder, GGUF file or header dump (default: Q4_K_M)")
    parser.add_argument("--gpus", required=True, help='memory of each GPU in MB, in PCI order: "102642,34190"')
    parser.add_argument("--ram", type=float, required=True, help="main memory in GiB")
    parser.add_argument("--memory_limit", type=float, help="the pod's memory limit in GiB")
    parser.add_argument("--gpu_split", help="MB to use of each GPU, as in the engine's flag")
    parser.add_argument("--cache_lens", type=int, help="size of the KV cache in tokens (default: as many as fit)")
    parser.add_argument("--numa_nodes", type=int, default=1)
    parser.add_argument("--disk_rate", type=float, help="read rate of the model's disk in MB/s")
    parser.add_argument("--ram_rate", type=float, help="read rate of main memory in MB/s")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the plan as JSON")
    form.add_argument("--rules", action="store_true", help="print KTransformers' rule file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
