#!/bin/bash
# On the machine with the GPU: build_operators.sh OUT.so [FLAGS]: libleviathan_operators.so with its own nvcc, for its own card, a file a job.
# FLAGS: -DLEVIATHAN_VARIANTS for decode_rates.py --variants.
set -euo pipefail
out=$1
shift
kernels=$(cd "$(dirname "$0")/../../tools/leviathan_operators/kernels" && pwd)
work=$(mktemp -d)
jobs=()
for source in "$kernels"/*.cu "$kernels"/*.cpp; do
  nvcc -O3 -std=c++17 -arch=sm_90a -Xcompiler -fPIC -Xcompiler -fvisibility=hidden "$@" -c -o "$work/$(basename "$source").o" "$source" &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
nvcc -shared -arch=sm_90a -o "$out" "$work"/*.o
rm -r "$work"
echo "built $out after $SECONDS s"
