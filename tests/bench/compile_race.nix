# Our nvcc and NVIDIA's on the same source, in turns, in the sandbox that builds the image: same headers, same host libraries.
# `nonce` makes each measurement a derivation of its own. NVIDIA's lies at /nix/nvcc, through extra-sandbox-paths.
{
  nonce,
  theirs ? "",
}:
let
  stages = import ../../nix { self = { }; };
  race = stages.source.pick {
    name = "compile-race";
    path = ../.;
    keep = [
      "bench/compile_race.py"
      "gpu/marlin_source.py"
    ];
  };
in
{
  race = stages.runInRootfs {
    name = "compile-race";
    trees = [
      stages.pythonHeaders
      stages.buildRootfs
    ];
    script = ''
      PYTHONPATH=${race}/gpu python3 ${race}/bench/compile_race.py --ours ${stages.toolkit} ${theirs} \
        --source ${stages.engine.sources}/ktransformers/ktransformers_ext/cuda --out $out
    '';
    env.nonce = nonce;
  };
}
