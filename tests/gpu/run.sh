#!/bin/bash
# On the machine with the GPU, after stage.sh: run.sh tiny|tiny_launcher|wide|wide_launcher|deep|bare|kernels. Results go to $OUT.
# Inside the image's tree the tests lie in /t/gpu, models in /models, results in /t/out.
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
export TREE=${TREE:-/tmp/tree}
OUT=${OUT:-/tmp/out}
inside() { bash "$HERE/stage.sh" enter ${EXTRA:-} "$@"; }
prepare() { mkdir -p "$TREE/t/out" "$OUT"; cp -r "$HERE" "$TREE/t/"; }

# answers NAME MODEL [FLAGS]: one run of the engine and its comparison with the reference
answers() {
  local name=$1 model=$2 marlin=""
  shift 2
  [[ " $* " == *" torch "* ]] || marlin=--marlin
  inside python3 /t/gpu/engine_run.py "/models/$model" "/t/out/$name" "/t/out/$name.npz" "$@" > "$OUT/$name.log" 2>&1
  grep RESULT "$OUT/$name.log" | sed "s/^/$name /" || tail -n 15 "$OUT/$name.log"
  [[ " $* " == *" --drop-logits "* ]] && return
  echo "$name $(inside python3 /t/gpu/compare.py "/models/$model" "/t/out/$name.npz" $marlin 2>&1 | tail -n 1)"
}

tiny() {
  [ -e "$TREE/models/tiny" ] || inside python3 /t/gpu/model.py /models/tiny --layers 6
  answers tiny-torch tiny --linear torch --no-graph --cpu_infer 3 &
  answers tiny-torch-graph tiny --linear torch --cpu_infer 3 &
  answers tiny-marlin tiny --no-graph --cpu_infer 3 &
  answers tiny-marlin-graph tiny --cpu_infer 3 &
  wait
  answers tiny-marlin-split tiny --split 2 --cpu_infer 3
}

wide() {
  answers wide-torch wide --linear torch --cache_lens 8192 --prompt 100
  answers wide-marlin wide --cache_lens 8192 --prompt 100 700
  answers wide-long wide --cache_lens 8192 --prompt 6000 --steps 8 --drop-logits
}

deep() { answers deep deep --cache_lens 8192 --prompt 200 --steps 40 --drop-logits; }

tiny_launcher() { launcher tiny; }
wide_launcher() { launcher wide; }

launcher() { # MODEL: the image's entry point, with the runbook's flags
  inside LEVIATHAN_STATE=/t/out/state python3 -m leviathan_engine --model_path "/models/$1" --port 30000 \
    --gpu_split 70000 --cpu_offload_max_threads "${THREADS:-96}" --cache_lens "${CACHE:-2048}" > "$OUT/launcher-$1.log" 2>&1 &
  local pid=$!
  python3 "$HERE/client.py" http://127.0.0.1:30000 || tail -n 25 "$OUT/launcher-$1.log"
  [ "${2:-}" = stay ] && return
  kill -TERM "$(pgrep -f 'leviathan_engine --model_path' | head -n 1)"
  wait $pid
  echo "launcher $1 ended with $?"
}

bare() { # the front's cost beside KTransformers' own server: same model, rules and threads, in turns
  THREADS=7 launcher tiny stay
  local state=/t/out/state words
  words=$(tr '\0' ' ' < "/proc/$(pgrep -f 'python3 -m leviathan_engine.worker' | tail -n 1)/cmdline")
  echo "worker: $words"
  local gguf rules threads
  gguf=$(sed 's/.*--gguf \([^ ]*\).*/\1/' <<< "$words")
  rules=$(sed 's/.*--rules \([^ ]*\).*/\1/' <<< "$words")
  threads=$(sed 's/.*--cpu_infer \([^ ]*\).*/\1/' <<< "$words")

  inside HOME=$state/home python3 -c 'from leviathan_engine.model_config import register; register()
from ktransformers.server.main import main; main()' --model_path $state/hf --gguf_path "$gguf" --optimize_config_path "$rules" \
    --cpu_infer "$threads" --cache_lens 2048 --max_new_tokens 100 --port 30001 > "$OUT/bare.log" 2>&1 &
  for _ in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:30001/v1/models && break; sleep 0.5; done
  python3 "$HERE/../leviathan_engine/bench_front.py" --bare http://127.0.0.1:30001 --front http://127.0.0.1:30000 \
    --rounds 12 --tokens 100 || tail -n 5 "$OUT/bare.log"
}

kernels() {
  (cd "$TREE" && sha256sum usr/local/lib/python3.11/dist-packages/KTransformersOps*.so)
  inside python3 /t/gpu/kernels.py /t/out/ours.npz > "$OUT/kernels-image.json" 2> "$OUT/kernels-image.log" || tail "$OUT/kernels-image.log"
  python3 "$HERE/kernels.py" /tmp/theirs.npz --module "${NVCC_BUILD:-/tmp/nvcc}" > "$OUT/kernels-nvcc.json" 2> "$OUT/kernels-nvcc.log" || tail "$OUT/kernels-nvcc.log"
  python3 "$HERE/side_by_side.py" "$OUT/kernels-image.json" "$TREE/t/out/ours.npz" "$OUT/kernels-nvcc.json" /tmp/theirs.npz | tee "$OUT/kernels.md"
}

prepare
for step in "$@"; do
  echo "== $step $(date +%T)"
  $step
done
