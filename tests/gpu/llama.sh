#!/bin/bash
# On the machine with the GPU, after stage.sh: this engine and llama.cpp one after the other, on the same file. docs/gpu.md has the tables.
#   llama.sh LLAMA_BENCH MODEL_FOLDER      LLAMA_BENCH: llama.cpp's program, built there; MODEL_FOLDER: below $TREE/models
# The second half of ours is the one to quote: the first has the warm-up of each length in it.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export TREE=${TREE:-/tmp/tree}
bench=$1 model=$2 threads=${THREADS:-15}
file=$TREE/models/$model/model.gguf
cat "$file" >/dev/null # into the page cache
lengths="512 2048 4096 16384"
# shellcheck disable=SC2086 # a list of numbers
bash "$here/stage.sh" enter python3 /t/gpu/engine_run.py "/models/$model" "/t/out/$model" "/t/out/$model.npz" --cache_lens 20000 \
  --prompt $lengths $lengths --steps 40 --drop-logits --cpu_infer "$threads" | grep -E "RESULT|leviathan: experts"
common="-m $file -ngl 99 -fa 1 -t $threads"
for setting in "-b 4096 -ub 4096 -p 512,2048,4096 -n 40 -r 2" "-b 16384 -ub 16384 -p 16384 -n 0 -r 1" "-p 4096 -n 0 -r 1" \
  "-lm none -b 4096 -ub 4096 -p 512,4096 -n 0 -r 1"; do
  # shellcheck disable=SC2086 # lists of words
  "$bench" $common --n-cpu-moe 99 $setting | grep -E "pp|tg"
done
for layers in 6 3; do # experts of one layer of four on the GPU, and of all
  # shellcheck disable=SC2086
  "$bench" $common --n-cpu-moe $layers -p 0 -n 100 -r 2 | grep tg
done
