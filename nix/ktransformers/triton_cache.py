#!/usr/bin/env python3
"""Compiles at build time, without a GPU, what Triton would compile at KTransformers' first token.

    triton_cache.py --archs "9.0a 10.0 12.0" --out SITE

writes SITE/triton_shipped.py (the cache manager) and SITE/triton_shipped_cache/KEY/...: the decode kernels for every
architecture, their launchers and cuda_utils. It calls KTransformers' own host code with tensors shaped as the engine
shapes them and lets Triton specialise, so the keys are those of the run. Needs a C compiler, Python.h and an installed
engine. The keys depend on Triton, on ptxas' version and on the kernels' source, and on nothing of the machine.
"""

import argparse
import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = "triton_shipped_cache"

# Triton's key for C modules holds platform.architecture(), whose second word is "ELF" only where `file` is installed.
PLATFORMS = ("x86_64,Linux,64bit,", "x86_64,Linux,64bit,ELF")

LATENT, ROPE, PAGE = 512, 64, 64


@dataclass(frozen=True)
class Case:
    """One specialisation of the decode kernels: Triton tells apart an integer that is 1 and one that 16 divides."""

    heads: int
    pages: int


# DeepSeek-V3 and V2 have 128 heads, V2-Lite and the tests' tiny model 16. Pages are cache_lens / 64, rounded up.
CASES = [Case(heads, pages) for heads in (128, 16) for pages in (128, 100, 1)]


class OfflineDriver:
    """Stands where Triton's CUDA driver would: says which GPU to compile for, and runs nothing."""

    def __init__(self, capability: int) -> None:
        self.capability = capability
        self.target = import_module("triton.backends.compiler").GPUTarget("cuda", capability, 32)

    def get_current_device(self) -> int:
        return self.capability

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self.target


class Compiler:
    """Builds C modules for Triton, byte for byte the same anywhere, against a libcuda that is made here."""

    def __init__(self, cc: str, work: Path) -> None:
        self.cc, self.work = cc, work
        self.symbols: set[str] = set()

    def __call__(self, name: str, src: str, srcdir: str, libs: list[str], includes: list[str], links: list[str]) -> str:
        """Triton's `knobs.build.impl`: compile the file `src` to a module and return its path."""
        made, out = Path(srcdir) / f"{name}.o", Path(srcdir) / f"{name}.so"
        python = sysconfig.get_paths(scheme="posix_prefix")["include"]
        flags = ["-O2", "-fPIC", "-w", f"-ffile-prefix-map={srcdir}=.", f"-I{python}", *(f"-I{i}" for i in includes)]
        subprocess.run([self.cc, *flags, "-c", src, "-o", str(made)], check=True)
        listed = subprocess.run(["nm", "-u", str(made)], check=True, capture_output=True, text=True).stdout
        self.symbols |= set(re.findall(r"\b(cu[A-Z]\w+)", listed))
        subprocess.run([self.cc, "-shared", "-s", str(made), str(self.libcuda()), "-o", str(out)], check=True)
        return str(out)

    def libcuda(self) -> Path:
        """A library of libcuda's soname with the functions seen so far, loaded so that modules find it by that name."""
        text = "".join(f"int {name}(void) {{ return 100; }}\n" for name in sorted(self.symbols))
        folder = self.work / hashlib.sha256(text.encode()).hexdigest()[:16]
        library = folder / "libcuda.so.1"
        if not library.exists():
            folder.mkdir()
            (folder / "cuda.c").write_text(text, encoding="utf-8")
            argv = [self.cc, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(folder / "cuda.c"), "-o", str(library)]
            subprocess.run(argv, check=True)
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        return library


def decode(case: Case, launch: Any) -> None:
    """Call KTransformers' decode attention with tensors laid out as KDeepseekV2Attention.forward_linux_triton does.

    `launch(kernel, args, kwargs)` is called in place of each kernel launch.
    """
    torch, triton_attention = import_module("torch"), import_module("ktransformers.operators.triton_attention")
    splits = triton_attention.NUM_KV_SPLITS

    class Recorded:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: Any) -> Any:
            return lambda *args, **kwargs: launch(self.kernel, args, kwargs)

    names = ("_fwd_grouped_kernel_stage1", "_fwd_kernel_stage2")
    kernels = {name: getattr(triton_attention, name) for name in names}
    for name, kernel in kernels.items():
        setattr(triton_attention, name, Recorded(kernel))
    try:
        cache = torch.zeros(case.pages, PAGE, 1, LATENT + ROPE, dtype=torch.bfloat16)
        absorbed = torch.zeros(1, case.heads, 1, LATENT, dtype=torch.bfloat16).transpose(1, 2)
        triton_attention.decode_attention_fwd_grouped(
            torch.zeros(1, case.heads, LATENT + ROPE, dtype=torch.bfloat16),
            cache,
            cache[:, :, :, :LATENT],
            torch.zeros_like(absorbed),
            torch.zeros(1, case.pages, dtype=torch.int32),
            torch.ones(1, dtype=torch.int32),
            torch.empty(1, case.heads, splits, LATENT + 1, dtype=torch.float32),
            splits,
            0.1,
            PAGE,
        )
    finally:
        for name, kernel in kernels.items():
            setattr(triton_attention, name, kernel)


def compile_everything(archs: list[int], compiler: Compiler) -> int:
    """Fill TRITON_CACHE_DIR; returns the number of kernels. The environment is already set."""
    # Modules that read the environment, so not at this file's top; and that a type checker need not have.
    triton, nvidia = import_module("triton"), import_module("triton.backends.nvidia.driver")
    build: Any = import_module("triton.runtime.build")

    triton.knobs.build.impl = compiler
    # Line tables would carry the paths of this environment. The key must be that of a run without the variable.
    triton.knobs.compilation.disable_line_info = True
    triton.compiler.compiler.get_cache_invalidating_env_vars = dict
    compiled: list[Any] = []

    def launch(kernel: Any, args: Any, kwargs: Any) -> None:
        compiled.append(kernel.run(*args, grid=(1,), warmup=True, **kwargs))

    for arch in archs:
        triton.runtime.driver.set_active(OfflineDriver(arch))
        for case in CASES:
            decode(case, launch)
    for platform in PLATFORMS:
        build.platform_key = lambda platform=platform: platform
        nvidia.CudaUtils.__init__(object.__new__(nvidia.CudaUtils))
        for kernel in compiled:
            nvidia.CudaLauncher(kernel.src, kernel.metadata)
    return len({kernel.hash for kernel in compiled})


def ship(cache: Path, out: Path) -> int:
    """Copy what a run needs into `out`, without paths of this machine; returns the number of bytes.

    Kept are modules, cubins and their metadata; Triton's intermediate files are for reading only.
    """
    for file in sorted(path for path in cache.rglob("*") if path.is_file()):
        target = out / file.parent.name / file.name
        if file.suffix not in (".so", ".cubin", ".json"):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix != ".json":
            shutil.copyfile(file, target)
            continue
        content = json.loads(file.read_text(encoding="utf-8"))
        if file.name.startswith("__grp__"):
            content["child_paths"] = {n: n for n in sorted(content["child_paths"]) if n.endswith((".cubin", ".json"))}
        else:
            content["extern_libs"] = []  # an absolute path; read only while compiling
        target.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def capability(arch: str) -> int:
    """ "9.0a" as torch writes it to 90 as Triton does; Triton adds the "a" itself."""
    found = re.fullmatch(r"(\d+)\.(\d)[af]?", arch)
    if found is None:
        raise SystemExit(
            f"triton_cache.py: --archs: {arch!r} is no GPU architecture; write them as torch does: 9.0a 12.0"
        )
    return int(found.group(1) + found.group(2))


def main(argv: list[str]) -> int:
    """Fill SITE/triton_shipped_cache; prints the number of kernels and bytes."""
    parser = argparse.ArgumentParser(prog="triton_cache.py", description="Compiles Triton's part at build time.")
    parser.add_argument("--archs", required=True, help='GPU architectures, such as "9.0a 10.0 12.0"')
    parser.add_argument("--out", type=Path, required=True, help="site-packages folder to write to")
    parser.add_argument("--cc", default="clang-19", help="C compiler")
    args = parser.parse_args(argv)
    archs = [capability(arch) for arch in args.archs.split()]
    with tempfile.TemporaryDirectory(prefix="triton-") as folder:
        work = Path(folder)
        for name in [name for name in os.environ if name.startswith(("TRITON_", "LLVM_", "MLIR_"))]:
            del os.environ[name]
        os.environ |= {"TRITON_CACHE_DIR": str(work / "cache"), "TRITON_LIBCUDA_PATH": str(work), "CC": args.cc}
        kernels = compile_everything(archs, Compiler(args.cc, work))
        size = ship(work / "cache", args.out / CACHE)
    shutil.copyfile(HERE / "python" / "triton_shipped.py", args.out / "triton_shipped.py")
    sys.stdout.write(f"{kernels} kernels, {size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
