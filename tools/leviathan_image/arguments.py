"""The command line's grammar: what each command takes."""

import argparse
from pathlib import Path

from leviathan_image.hygiene.forbidden_strings import BUILD_PATHS
from leviathan_image.isa.check import Programs


class _Commands:
    """The commands of one parser."""

    def __init__(self, root: argparse.ArgumentParser) -> None:
        self._actions = root.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def add(self, name: str, text: str, *, trees: bool = False, reports: bool = True) -> argparse.ArgumentParser:
        """A command; with `trees` it takes folders, with `reports` it can print JSON."""
        one = self._actions.add_parser(name, help=text, description=text)
        if trees:
            one.add_argument(
                "trees", nargs="+", type=Path, metavar="TREE", help="a folder: the image's root or a part of it"
            )
        if reports:
            one.add_argument("--json", action="store_true", help="print the result as JSON")
        return one


def parser() -> argparse.ArgumentParser:
    """The whole command line; the parsed `command` is the command's name."""
    root = argparse.ArgumentParser(prog="leviathan_image", description="Reproducible OCI layers, and what is in them.")
    commands = _Commands(root)
    _add_layer(commands)
    _add_layout(commands)
    _add_checks_of_an_image(commands)
    _add_checks_of_files(commands)
    return root


def _add_layer(commands: _Commands) -> None:
    layer = commands.add("layer", "make one layer of folder trees", trees=True, reports=False)
    layer.add_argument("--name", required=True, help="the layer's name in tables and in the image's history")
    layer.add_argument("--out", required=True, type=Path, help="new folder: blob, layer.json, contents.tsv")
    layer.add_argument("--modes", type=Path, help="JSON: path → mode, uid, gid, type; what the store cannot hold")
    layer.add_argument("--level", type=int, default=9, help="zstd level, 1 to 19 (default %(default)s)")
    layer.add_argument("--long", type=int, default=0, help="log2 of zstd's match window in bytes, up to 27")
    layer.add_argument(
        "--threads", type=int, default=0, help="zstd's threads; 0: one per core. The bytes do not depend on it"
    )
    layer.add_argument("--comment", default="", help="for the image's history")


def _add_layout(commands: _Commands) -> None:
    layout = commands.add("layout", "make an OCI layout of layers and print its digest", reports=False)
    layout.add_argument("--out", required=True, type=Path, help="new folder: oci-layout, index.json, blobs")
    layout.add_argument("--ref", required=True, help="the image's name, omni/engine:tag")
    layout.add_argument("--config", required=True, type=Path, help="JSON: entrypoint, cmd, env, labels ...")
    layout.add_argument("--layer", required=True, action="append", type=Path, help="a layer's folder, lowest first")
    layout.add_argument("--shadow", action="append", default=[], help="glob of files that an upper layer may replace")
    layout.add_argument("--digest-file", type=Path, help="also write the digest here, outside the layout")


def _add_checks_of_an_image(commands: _Commands) -> None:
    check = commands.add("verify", "hash a layout again and check every tar header")
    check.add_argument("layout", type=Path)

    table = commands.add("table", "print the size of each layer and compare it with the budget")
    table.add_argument("--budget", required=True, type=Path, help="JSON: total_compressed, layers, big_files")
    table.add_argument("layers", nargs="+", type=Path, metavar="LAYER")

    differ = commands.add("diff", "show where two layouts differ, down to the first byte")
    differ.add_argument("first", type=Path)
    differ.add_argument("second", type=Path)


def _add_checks_of_files(commands: _Commands) -> None:
    device = commands.add("device-code", "check the GPU architectures in every file", trees=True)
    device.add_argument("--wanted", type=_names, required=True, help="sm_90a,sm_100,sm_120: exactly these")
    device.add_argument("--exceptions", type=Path, help="JSON: glob → carries, why, spread")

    programs = Programs()
    isa = commands.add("isa", "check that libraries hold no instruction beyond a march")
    isa.add_argument("--march", required=True, help="as for clang: znver4, x86-64-v3 ...")
    isa.add_argument("--exceptions", type=Path, help="JSON: function glob → features, why")
    isa.add_argument("--objdump", default=programs.objdump, help="LLVM's disassembler (default %(default)s)")
    isa.add_argument("--clang", default=programs.clang, help="says what a march allows (default %(default)s)")
    isa.add_argument("--assembler", default=programs.assembler, help="GNU as (default %(default)s)")
    isa.add_argument("files", nargs="+", type=Path, metavar="FILE")

    hygiene = commands.add("hygiene", "check for build paths, timestamps, duplicates, compilers, tests", trees=True)
    hygiene.add_argument("--exceptions", type=Path, help="JSON: rule → glob → reason")
    text = f"a path that no file may name, ^ first: only where a path begins (default {' '.join(BUILD_PATHS)})"
    hygiene.add_argument("--build-path", action="append", help=text)
    hygiene.add_argument("--layer", action="append", default=[], type=Path, help="also check this layer's tar")


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names:
        raise argparse.ArgumentTypeError("name at least one, separated by commas")
    return names
