#!/bin/bash
# make bench-gpu: this engine next to llama.cpp in one run, on the machine with the GPU, after stage.sh: prompts and decoding (llama.sh), a short
# prompt of a model with a whole token's bytes, and a chat of ten turns. Builds llama.cpp and writes the models where they are missing.
#   LLAMA=llama.tar.xz (llama_source.sh) WORK=/tmp/bench TREE=/tmp/tree OUT=/tmp/out bash tests/gpu/bench.sh
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd) project=$(cd "$(dirname "$0")/../.." && pwd)
export TREE=${TREE:-/tmp/tree} OUT=${OUT:-/tmp/out} THREADS=${THREADS:-15}
work=${WORK:-/tmp/bench} llama=${LLAMA:-$project/.leviathan/gpu/llama.tar.xz}
[ -d "$TREE/usr" ] || { echo "bench.sh: the image is not in $TREE; fix: bash tests/gpu/stage.sh unpack (docs/gpu.md)"; exit 1; }
mkdir -p "$work/llama" "$OUT" "$TREE/t/out" "$TREE/models"
cp -r "$here" "$TREE/t/"
[ -e "$work/llama/llama_build.sh" ] || tar -xf "$llama" -C "$work/llama" || exit 1
bash "$work/llama/llama_build.sh" "$(($(nproc) - 2))" cuda > "$work/llama.log" 2>&1 &
for model in "fat --layers 7 --experts 256" "deep --layers 61 --experts 8"; do
  # shellcheck disable=SC2086 # a list of words
  set -- $model
  [ -e "$TREE/models/$1/model.gguf" ] || PYTHONPATH=$project/tools python3 "$here/model.py" "$TREE/models/$1" --wide --llama "${@:2}"
done
wait
bin=$work/llama/build/bin
[ -x "$bin/llama-server" ] || { tail -n 20 "$work/llama.log"; exit 1; }
LLAMA_SERVER=$bin/llama-server bash "$here/run.sh" chat
bash "$here/llama.sh" "$bin/llama-bench" fat
cat "$TREE/models/deep/model.gguf" > /dev/null
bash "$here/stage.sh" enter python3 /t/gpu/engine_run.py /models/deep /t/out/deep /t/out/deep.npz --cache_lens 8192 --prompt 512 512 --steps 40 \
  --drop-logits --cpu_infer "$THREADS" | grep -E "RESULT|leviathan: experts"
"$bin/llama-bench" -m "$TREE/models/deep/model.gguf" -ngl 99 --n-cpu-moe 99 -fa 1 -b 4096 -ub 4096 -t "$THREADS" -p 512 -n 40 -r 2 | grep -E "pp|tg"
