# KTransformers from its sdist: the recipe's stages (build.py) as derivations, so that a change costs its stage alone.
{
  artifacts,
  buildRootfs,
  cudaRuntime,
  python,
  pythonHeaders,
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

  # What a stage runs: build.py with the stage's own modules, so that a change of one stage builds that stage again.
  recipe =
    {
      modules,
      files ? [ ],
    }:
    "${
      pick (
        [
          "build.py"
          "recipe/__init__.py"
        ]
        ++ map (module: "recipe/${module}.py") modules
        ++ files
      )
    }/build.py";

  unpack =
    patches:
    runInRootfs {
      name = "ktransformers-source";
      script = "python3 ${recipe { modules = [ "source" ]; }} source --sdist ${artifacts.source "ktransformers"} --patches ${patches} --out $out";
    };
  sources = unpack ./patches;
  # Each extension's sources with its own patches alone: a change of another patch does not build it again.
  withPatches =
    name: keep:
    unpack (
      source.pick {
        inherit name keep;
        path = ./patches;
      }
    );
  cpuSources = withPatches "cpu-patches" [
    "backend-waiting-threads.patch"
    "cmake-only-what-is-used.patch"
    "cpu-prefetch.patch"
    "moe-parallel-quantisation.patch"
    "moe-skips-absent-experts.patch"
    "task-queue-race.patch"
    "task-queue-spin.patch"
  ];
  cudaSources = withPatches "cuda-patches" [ "marlin-clang.patch" ];

  cpu =
    march:
    runInRootfs {
      name = "cpuinfer-${march}";
      script = ''
        python3 ${
          recipe {
            modules = [
              "compilers"
              "cpu"
              "march"
            ];
            files = [ "march.json" ];
          }
        } cpu --source ${cpuSources} --march ${march} --cuda-home ${cudaRuntime} \
          --jobs $NIX_BUILD_CORES --out $out/${packages}
      '';
    };

  cuda = runInRootfs {
    name = "ktransformers-ops";
    trees = [
      pythonHeaders
      buildRootfs
      python.torch
      python.other
      python.build
    ];
    script = ''
      export LEVIATHAN_NVCC_REPORT_DIR=$report
      mkdir -p $report
      python3 ${
        recipe {
          modules = [
            "compilers"
            "cuda"
          ];
        }
      } cuda --source ${cudaSources} --archs "${toString settings.cudaArchs}" \
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
        recipe {
          modules = [
            "march"
            "tree"
          ];
          files = [
            "flash_attn"
            "march.json"
            "python"
          ];
        }
      } python --source ${sources} --march "${toString settings.march}" --cuda ${settings.versions.cuda} \
        --torch ${settings.versions.torch} --out $out/${packages}
    '';
  };

  # Triton's kernels and their launchers, so that the image needs no C compiler.
  triton = runInRootfs {
    name = "ktransformers-triton";
    trees = [
      package
      pythonHeaders
      buildRootfs
      python.torch
      python.other
    ];
    script = ''
      python3 ${
        pick [
          "python"
          "triton_cache.py"
        ]
      }/triton_cache.py --archs "${toString settings.cudaArchs}" --out $out/${packages}
    '';
  };
in
{
  inherit
    cuda
    package
    sources
    triton
    ;
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
    triton
  ]
  ++ map cpu settings.march;
}
