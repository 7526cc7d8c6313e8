#!/bin/bash
# On the machine with the GPU, after stage.sh: run.sh tiny|tiny_launcher|wide|wide_launcher|deep|two|two_limit|two_deep|two_launcher|bare|cancel|full_card|kernels|chat|chunks|sanitize. Results go to $OUT.
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
  echo "$name $(inside python3 /t/gpu/compare.py "/models/$model" "/t/out/$name.npz" $marlin ${ROUTES:+--routes "/t/out/$ROUTES.npz"} 2>&1 | tail -n 1)"
}

tiny() {
  [ -e "$TREE/models/tiny" ] || inside python3 /t/gpu/model.py /models/tiny --layers 6
  local kind
  for kind in torch marlin; do # the run without a graph keeps the routers' choices, the one with it is held against them
    (ROUTES=tiny-$kind; answers tiny-$kind tiny --linear $kind --routes --cpu_infer 3
     answers tiny-$kind-graph tiny --linear $kind --cpu_infer 3) &
  done
  wait
  ROUTES=tiny-marlin answers tiny-marlin-split tiny --split 2 --cpu_infer 3
}

wide() {
  answers wide-torch wide --linear torch --cache_lens 8192 --prompt 100
  answers wide-marlin wide --cache_lens 8192 --prompt 100 700
  answers wide-long wide --cache_lens 8192 --prompt 6000 --steps 8 --drop-logits
}

deep() { answers deep deep --cache_lens 8192 --prompt 200 --steps 40 --drop-logits; }

two() { # two real cards, with a small share on the second, like the runbook's; then as cards without peer access
  local kind
  for kind in torch marlin; do
    ROUTES=two-$kind answers two-$kind tiny --linear $kind --routes --cards 20000,10000
    ROUTES=two-$kind answers two-$kind-graph tiny --linear $kind --cards 20000,10000
  done
  answers two-wide wide --cards 7500,6500 --cache_lens 8192 --prompt 100 700
  cc -shared -fPIC -O1 -o "$TREE/t/no_peer.so" "$HERE/no_peer.c"
  ROUTES=two-marlin EXTRA=LD_PRELOAD=/t/no_peer.so answers two-no-peer-graph tiny --cards 20000,10000
  EXTRA=LD_PRELOAD=/t/no_peer.so answers two-no-peer-wide wide --cards 7500,6500 --cache_lens 8192 --prompt 100 700
}

two_limit() { answers two-limit wide --cards 6900,6200 --cache_lens 8192 --prompt 0 --steps 8 --drop-logits; }

two_deep() { answers two-deep deep --cards 24000,10000 --cache_lens 8192 --prompt 200 --steps 40 --drop-logits; }

tiny_launcher() { launcher tiny; }
wide_launcher() { launcher wide; }
two_launcher() { SPLIT=7500,6500 THREADS=15 launcher wide; }

stop() { kill -TERM "$(pgrep -f 'leviathan_engine --model_path' | head -n 1)"; }

launcher() { # MODEL: the image's entry point, with the runbook's flags
  inside LEVIATHAN_STATE=/t/out/state python3 -m leviathan_engine --model_path "/models/$1" --port 30000 \
    --gpu_split "${SPLIT:-70000}" --cpu_offload_max_threads "${THREADS:-96}" --cache_lens "${CACHE:-2048}" > "$OUT/launcher-$1.log" 2>&1 &
  local pid=$!
  python3 "$HERE/client.py" http://127.0.0.1:30000 || tail -n 25 "$OUT/launcher-$1.log"
  [ "${2:-}" = stay ] && return
  stop
  wait $pid
  echo "launcher $1 ended with $?"
}

GREEDY='from leviathan_engine.model.hf_config import register; register()
import ktransformers.server.main as server
create = server.create_interface
def greedy(*args, **kwargs):
    create(*args, **kwargs)
    from ktransformers.server.backend.interfaces.transformers import TransformersInterface
    TransformersInterface.logits_to_token = lambda self, logits: int(logits.argmax())
server.create_interface = greedy
server.main()'

bare_server() { # PORT TOKENS: KTransformers' own server on the worker's files, greedy like the worker, with a HOME of its own
  local port=$1 tokens=$2 state=/t/out/state words=$3
  cp -r "$TREE$state/home" "$TREE/t/out/home-$port"
  sed -i "s#$state/home#/t/out/home-$port#g" "$TREE/t/out/home-$port/.ktransformers/config.yaml"
  value() { sed "s/.*--$1 \([^ ]*\).*/\1/" <<< "$words"; }
  inside HOME=/t/out/home-$port python3 -c "$GREEDY" --model_path $state/hf --gguf_path "$(value gguf)" --optimize_config_path "$(value rules)" \
    --cpu_infer "$(value cpu_infer)" --cache_lens 2048 --max_new_tokens "$tokens" --port "$port" > "$OUT/bare-$port.log" 2>&1 &
}

bare() { # the front's cost beside KTransformers' own server: same model, rules, threads and greedy choice, in turns
  THREADS=4 launcher tiny stay
  local words
  words=$(tr '\0' ' ' < "/proc/$(pgrep -f 'python3 -m leviathan_engine.worker' | tail -n 1)/cmdline")
  echo "worker: $words"
  bare_server 30001 600 "$words"
  bare_server 30002 1 "$words"
  for port in 30001 30002; do
    for _ in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:$port/v1/models && break; sleep 0.5; done
  done
  python3 "$HERE/front_cost.py" http://127.0.0.1:30000 http://127.0.0.1:30001 http://127.0.0.1:30002 --tokens 600 --rounds 12 ||
    tail -n 5 "$OUT"/bare-*.log
}

full_card() { # a prompt for which there is no memory left
  THREADS=15 CACHE=8192 launcher wide stay
  python3 "$HERE/full_card.py" http://127.0.0.1:30000 || tail -n 5 "$OUT/launcher-wide.log"
  stop
}

cancel() { # a client that leaves while its prompt is read
  THREADS=15 CACHE=8192 launcher wide stay
  python3 "$HERE/cancel.py" http://127.0.0.1:30000 --words "${WORDS:-1000}" || tail -n 5 "$OUT/launcher-wide.log"
  stop
}

kernels() { # ends with 1 when an error is over its limit, on either side, or ours over theirs
  local status=0
  (cd "$TREE" && sha256sum usr/local/lib/python3.11/dist-packages/KTransformersOps*.so)
  inside python3 /t/gpu/kernels.py /t/out/ours.npz > "$OUT/kernels-image.json" 2> "$OUT/kernels-image.log" || {
    status=1
    tail -n 5 "$OUT/kernels-image.log"
  }
  python3 "$HERE/kernels.py" /tmp/theirs.npz --module "${NVCC_BUILD:-/tmp/nvcc}" > "$OUT/kernels-nvcc.json" 2> "$OUT/kernels-nvcc.log" || {
    status=1
    tail -n 5 "$OUT/kernels-nvcc.log"
  }
  python3 "$HERE/side_by_side.py" "$OUT/kernels-image.json" "$TREE/t/out/ours.npz" "$OUT/kernels-nvcc.json" /tmp/theirs.npz > "$OUT/kernels.md" || status=1
  cat "$OUT/kernels.md"
  return $status
}

chat() { # ten turns against llama.cpp's server ($LLAMA_SERVER) on the same file, one after the other
  local model=${CHAT_MODEL:-fat} file status=0 pid
  file=$TREE/models/$model/model.gguf
  SPLIT=${SPLIT:-10600} THREADS=${THREADS:-15} CACHE=20000 launcher "$model" stay
  python3 "$HERE/chat_side_by_side.py" ask http://127.0.0.1:30000 "$OUT/chat-ours.json" 2> "$OUT/chat-ours.log" || status=1
  nvidia-smi --query-gpu=memory.used --format=csv,noheader | sed 's/^/ours, VRAM: /'
  stop
  wait
  "$LLAMA_SERVER" -m "$file" --port 30009 -c 20000 -np 1 -ngl 99 --n-cpu-moe 99 -fa on -t "${THREADS:-15}" -b 4096 -ub 4096 \
    --no-jinja --chat-template deepseek3 > "$OUT/llama-server.log" 2>&1 &
  pid=$!
  for _ in $(seq 240); do curl -sf -o /dev/null http://127.0.0.1:30009/health && break; sleep 0.5; done
  python3 "$HERE/chat_side_by_side.py" ask http://127.0.0.1:30009 "$OUT/chat-llama.json" 2> "$OUT/chat-llama.log" || status=1
  nvidia-smi --query-gpu=memory.used --format=csv,noheader | sed 's/^/llama.cpp, VRAM: /'
  kill $pid
  wait $pid
  [ $status = 0 ] || tail -n 5 "$OUT/llama-server.log" "$OUT/launcher-$model.log"
  python3 "$HERE/chat_side_by_side.py" table "$OUT/chat-ours.json" "$OUT/chat-llama.json" && return $status
}

chunks() { # VRAM of a prompt that is longer than a chunk, planned and measured; the planner's own chunk comes last
  local size
  for size in 1024 4096 ""; do
    answers "chunks-${size:-plan}" "${CHAT_MODEL:-fat}" --cache_lens 65536 --prompt 40000 --steps 5 --drop-logits ${size:+--chunk $size}
  done
}

sanitize() { # outside of the tree: the machine's own torch and compute-sanitizer over the image's own library
  PYTHONPATH=$HERE/../../tools:$HERE python3 "$HERE/sanitize.py" \
    "${LIBRARY:-$TREE/usr/local/lib/python3.11/dist-packages/leviathan_operators/kernels/libleviathan_operators.so}" "$OUT/sanitize"
}

prepare
failed=
for step in "$@"; do
  echo "== $step $(date +%T)"
  $step || failed="$failed $step"
done
[ -z "$failed" ] || { echo "failed:$failed" && exit 1; }
