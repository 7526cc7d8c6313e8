# The engine's Python environment, in the two trees that become layers, and what builds and tests need besides.
{ artifacts, mkPoetryEnv }:
let
  # torch, Triton and NVIDIA's libraries: nine tenths of the image, and what changes least.
  heavy = package: package == "torch" || package == "triton" || builtins.match "nvidia-.*" package != null;
  main = artifacts.engine [ "main" ];
  names = map (record: record.package) main;
  group = name: builtins.filter (record: !builtins.elem record.package names) (artifacts.engine [ name ]);

  # What nothing loads, with the reasons.
  prune = builtins.fromJSON (builtins.readFile ../engine-prune.json);
in
{
  torch = mkPoetryEnv {
    name = "torch";
    records = main;
    select = heavy;
    prune = prune.torch;
  };

  other = mkPoetryEnv {
    name = "other";
    records = main;
    select = package: !heavy package;
    prune = prune.other;
  };

  build = mkPoetryEnv {
    name = "build";
    records = group "build";
    select = package: builtins.match "nvidia-.*" package == null;
  };

  test = mkPoetryEnv {
    name = "test";
    records = group "test";
  };

  toolkit = artifacts.engine [ "toolkit" ];
}
