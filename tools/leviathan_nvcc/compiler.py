"""The pipeline of one CUDA source: IR for each virtual architecture, PTX for each distinct IR, cubins, fat binary."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from leviathan_nvcc import device, fatbin, host, ir, ptx, report
from leviathan_nvcc.archs import Arch, Target
from leviathan_nvcc.invocation import Invocation
from leviathan_nvcc.process import Job, Runner
from leviathan_nvcc.toolchain import Toolchain


@dataclass(frozen=True)
class Product:
    """What the device passes made.

    Arguments:
        ptx: PTX by virtual architecture.
        cubins: cubin by target.
        kernels: what ptxas said of each kernel.
        rules: the dependency files of the passes.
    """

    ptx: dict[Arch, Path]
    cubins: dict[Target, Path]
    kernels: tuple[report.Kernel, ...]
    rules: tuple[Path, ...]


class Compiler:
    """Compiles CUDA sources of one invocation into files of a private folder.

    Arguments:
        tools: the parts of the toolkit.
        invocation: what to make.
        runner: runs the commands.
        work: the private folder; its name appears in no output.
    """

    def __init__(self, tools: Toolchain, invocation: Invocation, runner: Runner, work: Path) -> None:
        self._tools = tools
        self._invocation = invocation
        self._runner = runner
        self._work = work

    def device(self, source: str, cubins: bool) -> Product:
        """The device passes of a source; without ``cubins`` they end at PTX."""
        archs = sorted({target.arch for target in self._invocation.device.targets})
        same = self._same_source(source, archs)
        parsed = sorted(set(same.values()))
        irs = {arch: self._work / f"{arch.suffix}.ll" for arch in parsed}
        rules = {arch: self._work / f"{arch.suffix}.d" for arch in parsed}
        self._runner.all([self._frontend(source, arch, irs[arch], rules[arch]) for arch in parsed])
        texts = self._backends(irs)
        modules = {arch: self._retarget(texts[same[arch]], arch) for arch in archs}
        reals = [target for target in self._invocation.device.targets if target.real is not None and cubins]
        images = {target: self._work / f"{target.code}.{target.arch.suffix}.cubin" for target in reals}
        said = self._runner.all([self._ptxas(one, modules[one.arch], image) for one, image in images.items()])
        kernels = tuple(kernel for text in said for kernel in report.parse(text))
        written = tuple(rules.values()) if self._invocation.dependencies else ()
        return Product(modules, images, kernels, written)

    def _same_source(self, source: str, archs: list[Arch]) -> dict[Arch, Arch]:
        """For each architecture the first one whose preprocessed source is the same, which is parsed in its place.

        ``__CUDA_ARCH__`` is the only difference between architectures that clang compiles alike, and it acts through
        the preprocessor alone. A comparison of text costs a fraction of a second, a parse of torch's headers twenty.
        """
        many = [arch for arch in archs if sum(arch.clang == other.clang for other in archs) > 1]
        files = {arch: self._work / f"{arch.suffix}.ii" for arch in many}
        one = self._invocation
        preprocess = partial(device.preprocess, self._tools, one.source, one.device)
        self._runner.all([Job(preprocess(arch, source, str(file))) for arch, file in files.items()])
        first: dict[tuple[str, bytes], Arch] = {}
        same = {arch: arch for arch in archs}
        if not self._runner.dry:
            for arch, file in files.items():
                same[arch] = first.setdefault((arch.clang, hashlib.sha256(file.read_bytes()).digest()), arch)
                file.unlink()
        return same

    def _frontend(self, source: str, arch: Arch, out: Path, rule: Path) -> Job:
        words = device.dependency_words(self._invocation.dependencies, str(rule))
        one = self._invocation
        return Job(device.frontend(self._tools, one.source, one.device, arch, source, str(out), words))

    def _backends(self, irs: dict[Arch, Path]) -> dict[Arch, Path]:
        """Compiles each distinct IR once; architectures that clang compiles alike share the PTX of equal IR."""
        shared: dict[tuple[str, str], Path] = {}
        jobs: list[Job] = []
        texts: dict[Arch, Path] = {}
        one = self._invocation.device
        for arch, file in irs.items():
            key = (arch.clang, arch.suffix if self._runner.dry else ir.prepare(file, one.prec_sqrt, one.debug))
            if key not in shared:
                shared[key] = file.with_suffix(".clang.ptx")
                jobs.append(Job(device.backend(self._tools, one, arch, str(file), str(shared[key]))))
            texts[arch] = shared[key]
        self._runner.all(jobs)
        return texts

    def _retarget(self, text: Path, arch: Arch) -> Path:
        out = self._work / f"{arch.suffix}.ptx"
        if not self._runner.dry:
            out.write_bytes(ptx.retarget(text.read_bytes(), arch))
        return out

    def _ptxas(self, target: Target, module: Path, out: Path) -> Job:
        argv = device.ptxas(self._tools, self._invocation.device, target, str(module), str(out))
        return Job(argv, str if self._invocation.ptxas_info else report.messages)

    def fatbin(self, product: Product, name: str) -> Path:
        """Packs the product in the order of the targets; ``name`` is stored in each entry."""
        out = self._work / "device.fatbin"
        wanted = self._invocation.device
        self._runner.announce([self._tools.nvfatbin.name, *(target.code for target in wanted.targets), str(out)])
        if self._runner.dry:
            return out
        entries = [
            fatbin.Entry(target.arch.suffix, True, product.ptx[target.arch].read_bytes())
            if target.real is None
            else fatbin.Entry(target.real, False, product.cubins[target].read_bytes())
            for target in wanted.targets
        ]
        out.write_bytes(fatbin.Library(self._tools.nvfatbin).pack(entries, name, wanted.compress))
        return out

    def host(self, source: str, image: Path) -> tuple[Path, tuple[Path, ...]]:
        """The host pass: the object, and the dependency file if one is wanted."""
        out, rule = self._work / "host.o", self._work / "host.d"
        one = self._invocation
        words = device.dependency_words(one.dependencies, str(rule))
        self._runner.run(host.compile_cuda(self._tools, one.source, one.device, source, str(image), str(out), words))
        return out, (rule,) if one.dependencies else ()
