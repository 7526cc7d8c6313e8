#!/bin/bash
# make bench-gpu: this engine next to llama.cpp in one run, on the machine with the GPU, after stage.sh: prompts and decoding (llama.sh), a short
# prompt of a model with a whole token's bytes, and a chat of ten turns. Builds llama.cpp and writes the models where they are missing.
#   LLAMA=llama.tar.xz (llama_source.sh) WORK=/tmp/bench TREE=/tmp/tree OUT=/tmp/out bash tests/gpu/bench.sh
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export TREE=${TREE:-/tmp/tree} OUT=${OUT:-/tmp/out} THREADS=${THREADS:-15}
work=${WORK:-/tmp/bench}
[ -d "$TREE/usr" ] || { echo "bench.sh: the image is not in $TREE; fix: bash tests/gpu/stage.sh unpack (docs/gpu.md)"; exit 1; }
mkdir -p "$OUT" "$TREE/t/out"
cp -r "$here" "$TREE/t/"
WAIT=1 WORK=$work bash "$here/begin.sh" fat deep || exit 1
for model in fat deep; do
  [ -e "$TREE/models/$model/model.gguf" ] || { tail -n 20 "$work/$model.log"; exit 1; }
done
bin=$work/llama/build/bin
[ -x "$bin/llama-server" ] || { tail -n 20 "$work/llama.log"; exit 1; }
LLAMA_SERVER=$bin/llama-server bash "$here/run.sh" chat
bash "$here/llama.sh" "$bin/llama-bench" fat
cat "$TREE/models/deep/model.gguf" > /dev/null
bash "$here/stage.sh" enter python3 /t/gpu/engine_run.py /models/deep /t/out/deep /t/out/deep.npz --cache_lens 8192 --prompt 512 512 --steps 40 \
  --drop-logits --cpu_infer "$THREADS" | grep -E "RESULT|leviathan: experts"
"$bin/llama-bench" -m "$TREE/models/deep/model.gguf" -ngl 99 --n-cpu-moe 99 -fa 1 -b 4096 -ub 4096 -t "$THREADS" -p 512 -n 40 -r 2 | grep -E "pp|tg"
