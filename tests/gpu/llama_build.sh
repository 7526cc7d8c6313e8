#!/bin/sh
# llama_build.sh JOBS [cuda]: llama-bench and llama-server of the unpacked sources beside this file, in build/bin. On 14 CPUs with CUDA about 7 minutes.
set -eu
cd "$(dirname "$0")"
cuda="-DGGML_CUDA=OFF"
[ "${2:-}" = cuda ] && cuda="-DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=90-real -DGGML_CUDA_NCCL=OFF"
# shellcheck disable=SC2086 # lists of words
cmake -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=ON \
  -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_CURL=OFF -DGGML_CCACHE=OFF \
  -DLLAMA_BUILD_IS_DEV=OFF -DGGML_LLAMAFILE=ON $cuda ${CMAKE_MORE:-}
cmake --build build --target llama-bench llama-server -j "$1"
echo BUILD-DONE
