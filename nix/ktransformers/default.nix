# KTransformers from its sdist: the recipe's stages (build.py) as derivations, so that a change costs its stage alone.
{
  artifacts,
  buildRootfs,
  cudaRuntime,
  python,
  runInRootfs,
  settings,
  source,
  toolkit,
}:
let
  packages = "usr/local/lib/python3.11/dist-packages";

  pick =
    keep:
    source.pick {
      name = "ktransformers-recipe";
      path = ./.;
      inherit keep;
    };
  compileRecipe = pick [
    "build.py"
    "march.json"
    "recipe"
  ];

  sources = runInRootfs {
    name = "ktransformers-source";
    script = "python3 ${compileRecipe}/build.py source --sdist ${artifacts.source "ktransformers"} --patches ${./patches} --out $out";
  };

  cpu =
    march:
    runInRootfs {
      name = "cpuinfer-${march}";
      script = ''
        python3 ${compileRecipe}/build.py cpu --source ${sources} --march ${march} --cuda-home ${cudaRuntime} \
          --jobs $NIX_BUILD_CORES --out $out/${packages}
      '';
    };

  cuda = runInRootfs {
    name = "ktransformers-ops";
    trees = [
      buildRootfs
      python.torch
      python.other
      python.build
    ];
    script = ''
      export LEVIATHAN_NVCC_REPORT_DIR=$report
      mkdir -p $report
      python3 ${compileRecipe}/build.py cuda --source ${sources} --archs "${toString settings.cudaArchs}" \
        --cuda-home ${toolkit} --jobs $NIX_BUILD_CORES --out $out/${packages}
    '';
    env.outputs = [
      "out"
      "report"
    ];
  };

  package = runInRootfs {
    name = "ktransformers-python";
    script = ''
      python3 ${
        pick [
          "build.py"
          "flash_attn"
          "march.json"
          "python"
          "recipe"
        ]
      }/build.py python --source ${sources} --march "${toString settings.march}" --cuda ${settings.versions.cuda} \
        --torch ${settings.versions.torch} --out $out/${packages}
    '';
  };
in
{
  inherit cuda package sources;
  cpu = builtins.listToAttrs (
    map (march: {
      name = march;
      value = cpu march;
    }) settings.march
  );

  # What lies over one another in the image's engine layer.
  trees = [
    cuda
    package
  ]
  ++ map cpu settings.march;
}
