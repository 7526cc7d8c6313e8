"""Command line of the image tools: `python3 -m leviathan_image layer|layout|verify|table|diff|device-code|isa|hygiene`.

Results go to stdout, talk to stderr. Exit status: 0 done and clean, 1 findings or a failure that one line on stderr
explains, 2 a wrong command line, 130 interrupted.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from leviathan_image import table as size_table
from leviathan_image.arguments import parser
from leviathan_image.budget import check as check_budget
from leviathan_image.budget import read_budget
from leviathan_image.config import read_config
from leviathan_image.devicecode import check as check_device_code
from leviathan_image.devicecode import read_exceptions as read_device_exceptions
from leviathan_image.diff import diff
from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding, report
from leviathan_image.hygiene.exceptions import read_exceptions as read_hygiene_exceptions
from leviathan_image.hygiene.forbidden_strings import BUILD_PATHS
from leviathan_image.hygiene.tree_check import check_layers, check_trees
from leviathan_image.isa.check import Programs, check_file
from leviathan_image.isa.check import read_exceptions as read_isa_exceptions
from leviathan_image.layer import make_layer, read_layer
from leviathan_image.layout import make_layout
from leviathan_image.modes import read_modes
from leviathan_image.verify import verify
from leviathan_image.zstdpipe import Compression


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _layer(args: argparse.Namespace) -> int:
    compression = Compression(args.level, args.long, args.threads)
    layer = make_layer(args.name, args.trees, args.out, read_modes(args.modes), compression, args.comment)
    _say(f"layer {layer.name}: {layer.files:,} files, {layer.uncompressed_size:,} → {layer.size:,} bytes")
    sys.stdout.write(f"{layer.digest}\n")
    return 0


def _layout(args: argparse.Namespace) -> int:
    layers = [read_layer(folder) for folder in args.layer]
    digest = make_layout(layers, read_config(args.config), args.ref, args.out, args.shadow)
    if args.digest_file is not None:
        args.digest_file.write_text(f"{digest}\n", encoding="utf-8")
    sys.stdout.write(f"{digest}\n")
    return 0


def _verify(args: argparse.Namespace) -> int:
    findings, facts = verify(args.layout, _say)
    return report("verify", findings, facts, as_json=args.json)


def _table(args: argparse.Namespace) -> int:
    layers, budget = [read_layer(folder) for folder in args.layers], read_budget(args.budget)
    sys.stdout.write(size_table.as_json(layers, budget) if args.json else size_table.as_text(layers, budget))
    return 1 if check_budget(layers, budget) else 0


def _diff(args: argparse.Namespace) -> int:
    lines = list(diff(args.first, args.second))
    sys.stdout.write(json.dumps(lines, indent=2) + "\n" if args.json else "".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


def _device_code(args: argparse.Namespace) -> int:
    exceptions = read_device_exceptions(args.exceptions)
    findings, facts = check_device_code(args.trees, frozenset(args.wanted), exceptions, str(args.exceptions))
    return report("device-code", findings, facts, as_json=args.json)


def _isa(args: argparse.Namespace) -> int:
    findings: list[Finding] = []
    facts: list[str] = []
    programs = Programs(args.objdump, args.clang, args.assembler)
    for file in args.files:
        found, fact = check_file(file, args.march, read_isa_exceptions(args.exceptions), programs)
        findings += found
        facts += fact
    return report("isa", findings, facts, as_json=args.json)


def _hygiene(args: argparse.Namespace) -> int:
    exceptions = read_hygiene_exceptions(args.exceptions)
    findings, facts = check_trees(args.trees, args.build_path or BUILD_PATHS, exceptions, str(args.exceptions))
    more, more_facts = check_layers(args.layer)
    return report("hygiene", [*findings, *more], [*facts, *more_facts], as_json=args.json)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "layer": _layer,
    "layout": _layout,
    "verify": _verify,
    "table": _table,
    "diff": _diff,
    "device-code": _device_code,
    "isa": _isa,
    "hygiene": _hygiene,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = parser().parse_args(argv)
    try:
        status = _COMMANDS[args.command](args)
    except ImageError as error:
        _say(f"leviathan_image: {error.line()}")
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"leviathan_image: {where}{error.strerror}; correct the path or its permissions, or free some space")
        return 1
    except KeyboardInterrupt:
        _say("leviathan_image: interrupted")
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
