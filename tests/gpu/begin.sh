#!/bin/bash
# On the machine with the GPU, before anything else: builds llama.cpp and writes the models in the background, while the image's pieces arrive.
#   LLAMA=llama.tar.xz (llama_source.sh) bash tests/gpu/begin.sh [MODEL...]     MODEL: tiny wide fat skew deep (all)
# Done when $TREE/models/MODEL and /tmp/bench/llama/build/bin/llama-server are there: 4 minutes on 32 CPUs, 7 on 14. What is there stays; WAIT=1 waits.
set -euo pipefail
export TREE=${TREE:-/tmp/tree}
work=${WORK:-/tmp/bench} source=$(mktemp -d)
project=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$work/llama" "$work/models" "$TREE/models"
cp -r "$project/tools" "$project/tests" "$source/" # the next call may replace the checkout
declare -A flags=([tiny]="--layers 6" [wide]="--wide --layers 5 --experts 64" [fat]="--wide --llama --layers 7 --experts 256"
  [skew]="--wide --llama --layers 7 --experts 256 --zipf 1.0" [deep]="--wide --llama --layers 61 --experts 8")
[ $# -gt 0 ] || set -- "${!flags[@]}"
for name in "$@"; do
  [ ! -e "$TREE/models/$name/model.gguf" ] || continue
  PYTHONPATH=$source/tools setsid bash -c "python3 $source/tests/gpu/model.py $work/models/$name ${flags[$name]} > $work/$name.log 2>&1 &&
    mv $work/models/$name $TREE/models/" < /dev/null > /dev/null 2>&1 &
done
[ -e "$work/llama/llama_build.sh" ] || tar -xf "${LLAMA:-$project/.leviathan/gpu/llama.tar.xz}" -C "$work/llama"
setsid nice bash "$work/llama/llama_build.sh" "$(($(nproc) - 1))" cuda < /dev/null > "$work/llama.log" 2>&1 &
[ -z "${WAIT:-}" ] || wait
