"""What a call does from its inputs to its outputs, file by file."""

from __future__ import annotations

import sys
from pathlib import Path, PurePath

from leviathan_nvcc import dependencies, device, host, report
from leviathan_nvcc.compiler import Compiler, Product
from leviathan_nvcc.errors import NvccError
from leviathan_nvcc.files import publish
from leviathan_nvcc.invocation import Invocation, Mode, make_quote, output_of
from leviathan_nvcc.process import Runner
from leviathan_nvcc.toolchain import Toolchain

_LANGUAGES = {".cu": "cu", ".c": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++"}
_LINKABLE = (".o", ".obj", ".a", ".so")


def language_of(invocation: Invocation, name: str) -> str | None:
    """``cu``, ``c++`` or ``c`` of an input, None for what only the linker reads.

    Errors:
        NvccError: a name that says nothing, without ``-x``.
    """
    path = PurePath(name)
    if path.suffix in _LINKABLE or ".so." in path.name:
        return None
    language = invocation.language or _LANGUAGES.get(path.suffix)
    if language is None:
        raise NvccError(f"Don't know what to do with '{name}': give -x cu, or a .cu, .cpp, .c, .o, .a or .so file")
    return language


def check_inputs(invocation: Invocation) -> None:
    """Errors that can be told before anything runs.

    Errors:
        NvccError: no input, an input that is not there, several inputs for one output.
    """
    if not invocation.inputs:
        raise NvccError("No input files specified; use option --help for more information")
    for name in invocation.inputs:
        if language_of(invocation, name) is None and invocation.mode is not Mode.LINK:
            raise NvccError(f"'{name}' is only for the linker, but the options stop before it: remove the file")
        if not Path(name).is_file():
            raise NvccError(f"Could not open input file '{name}': no such file")
    if invocation.mode is not Mode.LINK and len(invocation.inputs) > 1 and (invocation.output or invocation.report):
        raise NvccError("A single input file is required for a non-link phase when an outputfile is specified")


class Driver:
    """Carries out one invocation.

    Arguments:
        tools: the parts of the toolkit.
        invocation: what to make.
        runner: runs the commands.
        work: a private folder, removed by the caller.
    """

    def __init__(self, tools: Toolchain, invocation: Invocation, runner: Runner, work: Path) -> None:
        self._tools = tools
        self._invocation = invocation
        self._runner = runner
        self._work = work

    def run(self) -> None:
        """Makes all outputs.

        Errors:
            NvccError, ToolFailed: an output that was not finished is not there.
        """
        one = self._invocation
        check_inputs(one)
        objects: list[str] = []
        for index, name in enumerate(one.inputs):
            language = language_of(one, name)
            folder = self._work / str(index)
            folder.mkdir()
            if language is None:
                objects.append(name)
            elif one.mode is Mode.PREPROCESS:
                self._preprocess(name)
            elif one.mode is Mode.DEPENDENCIES:
                self._scan(name, language, folder)
            elif language != "cu":
                objects.append(self._plain(name, language, folder))
            else:
                objects.append(self._cuda(name, folder))
        if one.mode is Mode.LINK:
            out = self._work / "linked"
            self._runner.run(host.link(self._tools, one, objects, str(out)))
            self._publish(out, output_of(one, one.inputs[0]))

    def _publish(self, file: Path, destination: str) -> None:
        if not self._runner.dry:
            publish(file, destination)

    def _cuda(self, name: str, folder: Path) -> str:
        one = self._invocation
        out = output_of(one, name)
        compiler = Compiler(self._tools, one, self._runner, folder)
        product = compiler.device(name, cubins=one.mode is not Mode.PTX)
        rules = product.rules
        if one.mode is Mode.PTX:
            made = next(iter(product.ptx.values()))
        elif one.mode is Mode.CUBIN:
            made = next(iter(product.cubins.values()))
        else:
            made = image = compiler.fatbin(product, PurePath(name).name)
            self._keep(name, product, image)
            if one.mode is not Mode.FATBIN:
                made, more = compiler.host(name, image)
                rules = (*more, *rules)
        self._report(out, product)
        self._rule(name, out, rules)
        if one.mode is not Mode.LINK:
            self._publish(made, out)
        return str(made)

    def _plain(self, name: str, language: str, folder: Path) -> str:
        one = self._invocation
        if one.mode not in (Mode.OBJECT, Mode.LINK):
            raise NvccError(f"'{name}' is not CUDA source, so it has no device code: add -x cu, or use -c")
        made, rule = folder / "plain.o", folder / "plain.d"
        words = device.dependency_words(one.dependencies, str(rule))
        self._runner.run(host.compile_plain(self._tools, one, language, name, str(made), words))
        self._rule(name, output_of(one, name), (rule,) if one.dependencies else ())
        if one.mode is not Mode.LINK:
            self._publish(made, output_of(one, name))
        return str(made)

    def _preprocess(self, name: str) -> None:
        one = self._invocation
        out = self._work / "preprocessed" if one.output else None
        argv = host.preprocess(self._tools, one.source, one.device, name, str(out) if out else None)
        text = self._runner.run(argv, quiet=lambda said: said if out else "")
        if out and one.output:
            self._publish(out, one.output)
        else:
            sys.stdout.write(text)

    def _scan(self, name: str, language: str, folder: Path) -> None:
        one = self._invocation
        wanted = one.dependencies
        scans = host.scans(self._tools, one, name, language)
        rules = [folder / f"{index}.d" for index in range(len(scans))]
        for argv, rule in zip(scans, rules, strict=True):
            self._runner.run([*argv, "-o", str(rule)])
        if self._runner.dry:
            return
        text = self._render(name, str(PurePath(name).with_suffix(".o").name), tuple(rules))
        destination = one.output or (wanted.file if wanted else None)
        if destination is None:
            sys.stdout.write(text)
        else:
            (folder / "rule").write_text(text)
            publish(folder / "rule", destination)

    def _render(self, name: str, out: str, rules: tuple[Path, ...]) -> str:
        wanted = self._invocation.dependencies
        targets = wanted.targets if wanted and wanted.targets else (make_quote(out),)
        merged = dependencies.merge(rule.read_text() for rule in rules)
        return dependencies.render(targets, merged, bool(wanted and wanted.phony))

    def _rule(self, name: str, out: str, rules: tuple[Path, ...]) -> None:
        wanted = self._invocation.dependencies
        if wanted is None or self._runner.dry:
            return
        (self._work / "rule").write_text(self._render(name, out, rules))
        publish(self._work / "rule", wanted.file or str(PurePath(out).with_suffix(".d")))

    def _keep(self, name: str, product: Product, image: Path) -> None:
        folder = self._invocation.keep
        if folder is None or self._runner.dry:
            return
        stem = PurePath(name).stem
        for arch, file in product.ptx.items():
            publish(file, str(Path(folder) / f"{stem}.compute_{arch.suffix}.ptx"))
        for target, file in product.cubins.items():
            publish(file, str(Path(folder) / f"{stem}.{target.code}.cubin"))
        publish(image, str(Path(folder) / f"{stem}.fatbin"))

    def _report(self, out: str, product: Product) -> None:
        one = self._invocation
        name = PurePath(out).name
        places = [one.report] if one.report else []
        places += [str(Path(one.report_folder) / f"{name}.json")] if one.report_folder else []
        if not self._runner.dry:
            for place in places:
                (self._work / "report").write_text(report.render(name, product.kernels))
                publish(self._work / "report", place)
