#!/bin/bash
# On the machine with the GPU, after stage.sh: decode steps from the file's blocks next to upstream's, in the image's own root.
#   decode.sh overlay LIBRARY    this checkout's Python and a library of build_operators.sh into the tree
#   decode.sh answers            tiny and wide against the float32 reference: no token wrong, logits within their limit; experts on the CPU, and on the GPU
#   decode.sh compare MODEL NAME FLAGS   one such comparison
#   decode.sh two                the same on two cards, with experts on both, and with experts streamed over both links
#   decode.sh links MODEL FLAGS  prompts with one card's link, then with two cards' ($CARDS, MB of each)
#   decode.sh rates MODEL        tokens/s and nodes: upstream's steps and ours; experts on the CPU, a quarter on the GPU, all; without the CPU's
#   decode.sh one NAME MODEL WAY FLAGS   one run of engine_run.py; WAY: blocks or upstream; EXTRA: words of its environment
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
  # shellcheck disable=SC2086 # words of the environment
  inside LEVIATHAN_DECODE="$way" ${EXTRA:-} python3 /t/gpu/engine_run.py "/models/$model" "/t/out/$name" "/t/out/$name.npz" "$@" > "$OUT/$name.log" 2>&1
  grep -E "leviathan: (decode|experts)" "$OUT/$name.log" | sed "s/^/$name /"
  grep RESULT "$OUT/$name.log" > /dev/null || tail -n 12 "$OUT/$name.log"
  grep RESULT "$OUT/$name.log" | sed 's/RESULT //' | python3 -c "
import json, sys
for line in sys.stdin:
    r = json.loads(line)
    step = r['step']
    print('$name', 'ms a token:', [round(x['ms_a_token'], 2) for x in r['rates']], 'tokens/s:', [round(1000 / x['ms_a_token'], 1) for x in r['rates']],
          'nodes:', step.get('nodes'), step.get('types'), 'a layer:', round(step['nodes'] / r['layers'], 1) if step else None,
          'prompts, tokens/s:', [(x['prompt'], round(x['prompt'] / x['first_s'])) for x in r['rates']], 'hits:', r['hit_ratio'], 'VRAM predicted/measured:', [round(x['total'], 2) for x in r['ratio']])"
}

compared() { # NAME JSON: what counts of a comparison, in one line; all of it in $OUT
  echo "$2" > "$OUT/$1.json"
  python3 -c "
import json, sys
try:
    found = json.load(open(sys.argv[2]))
    of = lambda p: {'prompt': p['prompt'], 'equal': p['forced']['equal'], 'wrong': p['forced']['wrong'], 'worst': round(p['forced']['worst_error'], 5)}
    print(sys.argv[1], 'good' if found['good'] else 'NOT GOOD', [of(p) for p in found['prompts']])
except (ValueError, KeyError):
    print(sys.argv[1], 'no comparison:', open(sys.argv[2]).read()[:300])" "$1" "$OUT/$1.json"
}

# answers MODEL NAME FLAGS: without a graph, which keeps the routers' choices, and with one; both against the reference with these choices
answers() {
  local model=$1 name=decode-$1-$2 kind
  shift 2
  for kind in routes nodes; do
    run "$name-$kind" "$model" blocks "$@" --cpu_infer "$THREADS" --$kind
    compared "$name-$kind" "$(inside python3 /t/gpu/compare.py "/models/$model" "/t/out/$name-$kind.npz" --routes "/t/out/$name-routes.npz" 2>&1 | tail -n 1)" &
  done
}

models() {
  for name in tiny wide; do
    [ -e "$TREE/models/$name" ] || { echo "decode.sh: $TREE/models/$name is missing; fix: bash tests/gpu/begin.sh $name"; exit 1; }
  done
}

case $1 in
  overlay)
    cp -r "$project/tools/leviathan_engine" "$project/tools/leviathan_operators" "$site/"
    find "$site/leviathan_engine" "$site/leviathan_operators" -name __pycache__ -prune -exec rm -rf {} + # the image's byte code, which is never checked
    cp "$2" "$site/leviathan_operators/kernels/libleviathan_operators.so"
    ;;
  answers)
    models
    for name in tiny wide; do
      prompts=$([ $name = tiny ] && echo 24 300 || echo 100 700)
      answers $name cpu --cache_lens 4096 --prompt $prompts
      answers $name resident --cache_lens 4096 --prompt $prompts --gpu_experts 400000000
    done
    ;;
  two) # who reads a prompt is fixed, since a router's near ties turn with it
    models
    answers tiny two --cache_lens 4096 --prompt 24 300 --cards 20000,10000 --gpu_experts 4000000,1000000 --stream_tokens 64
    answers wide two --cache_lens 8192 --prompt 100 700 --cards 9000,4000 --gpu_experts 200000000,500000000
    answers wide two-links --cache_lens 8192 --prompt 100 700 --cards 9000,4000 --chunk 512 --stream_tokens 32 --page_lock 30000000000
    ;;
  compare) answers "${@:2}" ;;
  links)
    cat "$TREE/models/$2"/*.gguf > /dev/null
    for cards in "" "--cards ${CARDS:-30000,9800}"; do
      # shellcheck disable=SC2086 # two words
      run "links${cards:+-two}" "$2" blocks --cache_lens 20000 --prompt 512 2048 4096 16384 512 2048 4096 16384 --steps 5 --drop-logits --cpu_infer "$THREADS" $cards "${@:3}"
    done
    ;;
  one)
    cat "$TREE/models/$3"/*.gguf > /dev/null
    run "${@:2}"
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
wait # for the comparisons, which need no GPU
