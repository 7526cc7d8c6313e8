#!/bin/bash
# On the machine with the GPU, after stage.sh: decode steps from the file's blocks next to upstream's, in the image's own root.
#   decode.sh overlay LIBRARY    this checkout's Python and a library of build_operators.sh into the tree
#   decode.sh answers            tiny and wide against the float32 reference: no token wrong, logits within their limit
#   decode.sh rates MODEL        tokens/s and nodes: upstream's steps and ours; experts on the CPU, a quarter on the GPU, all; without the CPU's
#   decode.sh skew MODEL         ours on a model of model.py --zipf, a quarter on the GPU: evenly, then where the counts say
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
export TREE=${TREE:-/tmp/tree}
OUT=${OUT:-/tmp/out} THREADS=${THREADS:-15} QUARTER=${QUARTER:-6900000000}
site=$TREE/usr/local/lib/python3.11/dist-packages
inside() { bash "$here/stage.sh" enter "$@"; }
mkdir -p "$OUT" "$TREE/t/out"
cp -r "$here" "$TREE/t/"

run() { # NAME MODEL WAY FLAGS: one run of the engine; its line of figures
  local name=$1 model=$2 way=$3
  shift 3
  inside LEVIATHAN_DECODE="$way" python3 /t/gpu/engine_run.py "/models/$model" "/t/out/$name" "/t/out/$name.npz" "$@" > "$OUT/$name.log" 2>&1
  grep -E "leviathan: (decode|experts)" "$OUT/$name.log" | sed "s/^/$name /"
  grep RESULT "$OUT/$name.log" > /dev/null || tail -n 12 "$OUT/$name.log"
  grep RESULT "$OUT/$name.log" | sed 's/RESULT //' | python3 -c "
import json, sys
for line in sys.stdin:
    r = json.loads(line)
    step = r['step']
    print('$name', 'ms a token:', [round(x['ms_a_token'], 2) for x in r['rates']], 'tokens/s:', [round(1000 / x['ms_a_token'], 1) for x in r['rates']],
          'nodes:', step.get('nodes'), step.get('types'), 'a layer:', round(step['nodes'] / r['layers'], 1) if step else None,
          'hits:', r['hit_ratio'], 'VRAM predicted/measured:', [round(x['total'], 2) for x in r['ratio']])"
}

case $1 in
  overlay)
    cp -r "$project/tools/leviathan_engine" "$project/tools/leviathan_operators" "$site/"
    cp "$2" "$site/leviathan_operators/kernels/libleviathan_operators.so"
    ;;
  answers)
    [ -e "$TREE/models/tiny" ] || inside python3 /t/gpu/model.py /models/tiny --layers 6
    [ -e "$TREE/models/wide" ] || inside python3 /t/gpu/model.py /models/wide --wide --layers 5 --experts 16
    for name in tiny wide; do
      prompts=$([ $name = tiny ] && echo 24 300 || echo 100 700)
      for kept in "routes --routes" "graph --nodes" "resident --gpu_experts 400000000"; do
        # shellcheck disable=SC2086 # lists of words
        set -- $kept
        # shellcheck disable=SC2086
        run "decode-$name-$1" $name blocks --cache_lens 8192 --prompt $prompts --cpu_infer "$THREADS" "${@:2}"
        echo "decode-$name-$1 $(inside python3 /t/gpu/compare.py "/models/$name" "/t/out/decode-$name-$1.npz" --routes "/t/out/decode-$name-routes.npz" 2>&1 | tail -n 1)"
      done
    done
    ;;
  rates)
    cat "$TREE/models/$2"/*.gguf > /dev/null
    for way in blocks upstream; do
      for place in "cpu 0" "quarter $QUARTER" "all 60000000000"; do
        # shellcheck disable=SC2086 # two words
        set -- "$1" "$2" $place
        run "rates-$way-$3" "$2" $way --cache_lens 2048 --prompt 64 64 --steps 60 --drop-logits --nodes --cpu_infer "$THREADS" --gpu_experts "$4"
      done
      run "rates-$way-idle" "$2" $way --cache_lens 2048 --prompt 64 64 --steps 60 --drop-logits --nodes --idle_experts --cpu_infer "$THREADS"
    done
    ;;
  skew)
    cat "$TREE/models/$2"/*.gguf > /dev/null
    for turn in even counted; do # the second start finds the first one's counts in its home
      run "skew" "$2" blocks --cache_lens 4096 --prompt 300 301 --steps 200 --drop-logits --cpu_infer "$THREADS" --gpu_experts "$QUARTER"
      echo "that was: $turn"
    done
    ;;
esac
