"""An nvcc command line for CUDA 12.8 over clang 19, ptxas and libnvfatbin.

NVIDIA publishes every part of CUDA 12.8 as wheels except nvcc's own front end. clang compiles CUDA, ptxas assembles
PTX for architectures that clang 19 does not know yet, and libnvfatbin packs the result: this package drives the three
behind nvcc's options, so that a build that calls ``$CUDA_HOME/bin/nvcc`` works unchanged.

Path of one source file (module by module)::

    cmdline -> meaning -> driver -> compiler: frontend (one per virtual architecture) -> ir -> backend (one per
    distinct IR) -> ptx -> ptxas (one per real architecture) -> fatbin -> host pass -> object, deps, report
"""

CUDA_RELEASE = "12.8"
"""The release that ``nvcc --version`` names; setup scripts parse it."""

CUDA_VERSION = "12.8.93"
"""The version of the compiler wheel (ptxas, libdevice, crt headers)."""

CLANG_MAJOR = 19
"""The clang that the arguments in :mod:`leviathan_nvcc.device` were written and measured for."""
